//! What stands in front of a route where keys are required, or requests are counted or recorded.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse as _, Response};
use belljar_core::api_key::{ApiKeyHash, Scope};
use http::Method;
use http::request::Parts;
use tokio::time::timeout;
use tower::{Layer, Service};

use crate::app::App;
use crate::audit_log::{Action, AuditRecord, DONE, is_refusal};
use crate::caller::Caller;
use crate::error::{ApiError, ErrorCode};
use crate::keys::{FRESH, Keys};
use crate::policy::Quota;
use crate::shown_key::{ShownKey, ShownKind};
use crate::timing::{Phase, RequestTiming};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody.
    Public,
    /// Who shows a key with this scope.
    Key(Scope),
}

/// Lets requests pass whose key has a scope, and tells their handlers who sends them.
#[derive(Clone)]
pub(crate) struct Guard {
    app: Arc<App>,
    scope: Scope,
}

impl Guard {
    /// A guard of routes that need `scope`.
    pub(crate) const fn new(app: Arc<App>, scope: Scope) -> Self {
        Self { app, scope }
    }

    async fn admit(&self, keys: &Keys, request: &mut Request) -> Result<Caller, ApiError> {
        let shown = ShownKey::of(request, keys.take_tokens())?;
        let caller = match (keys.known(shown.hash), shown.kind) {
            (Some(known), _) => known,
            (None, ShownKind::Token(token)) => keys.read_token(shown.hash, token).await?,
            (None, ShownKind::Key | ShownKind::Certificate) => {
                let timing = request.extensions().get::<Arc<RequestTiming>>().cloned();
                let timing = timing.unwrap_or_default();
                timing.time(Phase::Store, keys.look_up(shown.hash, &self.app.store)).await?
            }
        };
        let caller = caller.map_err(|refusal| shown.refused(refusal))?;
        caller.require(self.scope)?;
        request.extensions_mut().insert(caller.clone());
        Ok(caller)
    }

    /// Answers a request, and records that where there is an audit log.
    async fn answer<S>(&self, inner: S, request: Request) -> Response
    where
        S: Service<Request, Response = Response, Error = Infallible>,
    {
        let Some(log) = &self.app.config.audit_log else { return self.pass(inner, request).await };
        let timing = request.extensions().get::<Arc<RequestTiming>>().cloned().unwrap_or_default();
        let is_of_sessions = timing.route().starts_with("/v1/sessions");
        let action = self.action(request.method(), is_of_sessions);
        if action.is_some() && !log.is_ready() {
            return ApiError::AuditUnwritable.into_response();
        }
        let keys = self.app.keys.as_ref();
        let key = keys.and_then(|keys| ShownKey::of(&request, keys.take_tokens()).ok());
        let key = key.map(|shown| shown.hash);
        let route = format!("{} {}", request.method(), timing.route());
        let response = self.pass(inner, request).await;
        if action.is_some() || is_refusal(response.status()) {
            let record = AuditRecord::now(action.unwrap_or(Action::Request));
            log.record_answer(AuditRecord {
                request: Some(route),
                ..self.describe(record, key, &timing, &response)
            });
        }
        response
    }

    /// What requests to this route do that is always recorded.
    const fn action(&self, method: &Method, is_of_sessions: bool) -> Option<Action> {
        match (self.scope, method) {
            (Scope::Register, &Method::DELETE) => Some(Action::Delete),
            (Scope::Register, _) => Some(Action::Register),
            (Scope::Submit, &Method::DELETE) if is_of_sessions => Some(Action::DeleteSession),
            (Scope::Submit, _) if is_of_sessions => Some(Action::CreateSession),
            (Scope::Submit, _) => Some(Action::Submit),
            (Scope::Cancel, _) => Some(Action::Cancel),
            (Scope::Admin, &Method::POST) => Some(Action::DrainWorker),
            (Scope::Read | Scope::Admin, _) => None,
        }
    }

    fn describe(
        &self,
        record: AuditRecord,
        key: Option<ApiKeyHash>,
        timing: &RequestTiming,
        response: &Response,
    ) -> AuditRecord {
        let holder = match &self.app.keys {
            None => Some(self.app.anyone.clone()),
            // Of a key that is refused the tenant is not told.
            Some(keys) => key.and_then(|key| keys.known(key)?.ok()),
        };
        let subject = holder.as_ref().and_then(|holder| holder.token()?.subject.clone());
        let code = response.extensions().get::<ErrorCode>();
        let tasks = timing.tasks();
        let record = AuditRecord {
            status: Some(response.status().as_u16()),
            result: code.map_or(DONE, |code| code.0),
            tenant: holder.map(|holder| holder.tenant().clone()),
            user: subject,
            key: key.map(|key| key.id()),
            request_id: Some(timing.request_id().to_owned()),
            function: timing.function(),
            object: timing.session().map(|id| id.to_string()),
            task: tasks.map(|(first, _)| first),
            ..record.sent_from(timing.address())
        };
        match tasks {
            Some((_, count)) => record.times(count as u64),
            None => record,
        }
    }

    /// Lets a request pass, or refuses it.
    async fn pass<S>(&self, inner: S, request: Request) -> Response
    where
        S: Service<Request, Response = Response, Error = Infallible>,
    {
        self.try_pass(inner, request).await.unwrap_or_else(ApiError::into_response)
    }

    async fn try_pass<S>(&self, mut inner: S, mut request: Request) -> Result<Response, ApiError>
    where
        S: Service<Request, Response = Response, Error = Infallible>,
    {
        let Some(keys) = &self.app.keys else {
            self.app.anyone.take_request()?;
            return Ok(inner.call(request).await.unwrap_or_else(|never| match never {}));
        };
        let start = Instant::now();
        let caller = self.admit(keys, &mut request).await?;
        caller.take_request()?;
        let all = self.app.config.max_connections;
        let open = match caller.take_share(Quota::OpenRequests, 1, all) {
            Ok(open) => open.map(Arc::new),
            Err(refused) => {
                self.hold_back(&caller).await;
                return Err(refused);
            }
        };
        let mut response = inner.call(request).await.unwrap_or_else(|never| match never {});
        // A long poll outlasts what was known of the key.
        if start.elapsed() >= FRESH {
            keys.check(&caller, &self.app.store).await??;
        }
        // Until the whole answer was sent.
        open.map(|open| response.extensions_mut().insert(open));
        Ok(response)
    }

    /// Waits before who has too many requests open is refused another one: they may ask again at once, over and over.
    async fn hold_back(&self, caller: &Caller) {
        if let Some(pause) = caller.hold_back() {
            let _ = timeout(pause, self.app.draining.cancelled()).await;
        }
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        match &app.keys {
            None => Ok(app.anyone.clone()),
            Some(_) => parts.extensions.get().cloned().ok_or_else(|| {
                ApiError::Internal("a route without a guard asks who sends a request".into())
            }),
        }
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

/// A route behind its guard.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let guard = self.guard.clone();
        // The one that is ready goes; its clone is asked again before the next request.
        let next = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, next);
        Box::pin(async move { Ok(guard.answer(ready, request).await) })
    }
}
