//! What stands in front of a route where keys are required, or requests are counted.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse as _, Response};
use belljar_core::api_key::Scope;
use http::request::Parts;
use tower::{Layer, Service};

use crate::app::App;
use crate::caller::{Caller, FRESH, Keys, shown};
use crate::error::ApiError;
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
        let hash = shown(request.headers())?;
        let caller = match keys.known(hash) {
            Some(known) => known,
            None => {
                let timing = request.extensions().get::<Arc<RequestTiming>>().cloned();
                let timing = timing.unwrap_or_default();
                timing.time(Phase::Store, keys.look_up(hash, &self.app.store)).await?
            }
        }?;
        caller.require(self.scope)?;
        request.extensions_mut().insert(caller.clone());
        Ok(caller)
    }

    async fn answer<S>(&self, mut inner: S, mut request: Request) -> Result<Response, ApiError>
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
        let response = inner.call(request).await.unwrap_or_else(|never| match never {});
        // A long poll outlasts what was known of the key.
        if start.elapsed() >= FRESH {
            keys.check(&caller, &self.app.store).await??;
        }
        Ok(response)
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
        Box::pin(async move {
            let answer = guard.answer(ready, request).await;
            Ok(answer.unwrap_or_else(ApiError::into_response))
        })
    }
}
