//! The HTTP requests of sandboxed calls: the worker makes them, and checks each one before.
//!
//! A sandbox has no socket. Its child asks over the channel that it has anyway, in the middle of a call, and gets
//! the whole answer. All that it says may be hostile: the method, the URL, the headers are read here, put into
//! one form, compared with what the function was granted, and only then sent, to an address that was looked at.
//!
//! # Layout
//!
//! * here: what the requests of a worker share, and the requests of one call.
//! * [`message`]: requests and answers as the guest writes and reads them.
//! * [`headers`]: what a function may send and gets to see, and where secrets are put in.
//! * [`secrets`]: the file of secrets.
//! * [`address`]: addresses that a name may not lead to.
//! * [`connect`]: names, connections, TLS.
//! * [`send`]: one request.

mod address;
mod connect;
mod headers;
mod message;
mod secrets;
mod send;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use belljar_core::access::{AccessLog, Denied, DeniedKind, deny};
use belljar_core::http::{
    HTTP_NOTES, HTTP_REQUESTS, HttpLog, HttpNote, HttpPattern, HttpTarget, noted,
};
use bytes::Bytes;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub use address::{InvalidNetwork, Network};
pub use connect::{Resolve, SystemResolver};
use message::{Answer, Refusal, RefusalKind, Request};
use secrets::Secrets;
pub use secrets::SecretsError;

/// What the operator says about HTTP requests beside which ones are offered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpConfig {
    /// The file of secrets.
    pub secrets: Option<PathBuf>,
    /// Files with certificates of authorities that are trusted besides the machine's.
    pub authorities: Vec<PathBuf>,
    /// Networks that names may lead to although they are not public.
    pub private: Vec<Network>,
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum HttpConfigError {
    /// The file of secrets.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// A file of certificates.
    #[error("the certificates in `{}` cannot be used: {why}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// What the HTTP requests of all calls of a worker share.
pub struct HttpProxy {
    secrets: Secrets,
    private: Vec<Network>,
    resolver: Arc<dyn Resolve>,
    tls: TlsConnector,
}

impl fmt::Debug for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProxy").field("private", &self.private).finish_non_exhaustive()
    }
}

impl HttpProxy {
    /// Reads the files that `config` names, and the certificates that this machine trusts.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn new(config: &HttpConfig) -> Result<Self, HttpConfigError> {
        let secrets = config.secrets.as_deref().map(Secrets::read).transpose()?;
        Ok(Self {
            secrets: secrets.unwrap_or_default(),
            private: config.private.clone(),
            resolver: Arc::new(SystemResolver),
            tls: connect::tls(&config.authorities)?,
        })
    }

    /// The same with names resolved by `resolver`.
    #[must_use]
    pub fn resolving(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, ..self }
    }
}

/// The requests of one call.
#[derive(Debug)]
pub struct CallProxy {
    proxy: Arc<HttpProxy>,
    granted: Vec<HttpPattern>,
    log: HttpLog,
    denied: Vec<Denied>,
    /// When the request that is noted last began; `None` once it has ended.
    since: Option<Instant>,
}

impl CallProxy {
    /// For a call that was granted `granted`.
    #[must_use]
    pub fn new(proxy: Arc<HttpProxy>, granted: Vec<HttpPattern>) -> Self {
        Self { proxy, granted, log: HttpLog::default(), denied: Vec::new(), since: None }
    }

    /// Makes the request in `message` and returns the guest's answer. Whatever goes wrong is an answer too.
    ///
    /// When the future is dropped, so is the connection.
    pub async fn answer(&mut self, message: Bytes) -> Bytes {
        self.log.total += 1;
        let over = self.log.total > HTTP_REQUESTS;
        let read = match message::read(&message) {
            Ok(request) if over => Err((Some(request), Refusal::too_many())),
            Ok(request) => Ok(request),
            Err(refusal) => Err((None, refusal)),
        };
        let since = Instant::now();
        let (request, target) = match read {
            Ok(request) => match request.target() {
                Ok(target) => (request, target),
                Err(refusal) => return self.refused(Some(request), refusal),
            },
            Err((request, refusal)) => return self.refused(request, refusal),
        };
        let note = HttpNote {
            method: target.method().to_owned(),
            url: noted(&target.to_string()),
            request_bytes: request.body.len() as u64,
            ..HttpNote::default()
        };
        let is_noted = self.note(note);
        self.since = is_noted.then_some(since);
        let answer = match request.timeout() {
            Some(limit) => {
                let sent = timeout(limit, self.send(&request, &target)).await;
                sent.unwrap_or_else(|_| Err(Refusal::timed_out(limit)))
            }
            None => self.send(&request, &target).await,
        };
        self.since = None;
        if let Err(Refusal { grant: Some(grant), .. }) = &answer {
            deny(&mut self.denied, DeniedKind::Http, grant);
        }
        if let Some(note) = self.log.requests.last_mut().filter(|_| is_noted) {
            note.elapsed_ms = milliseconds(since.elapsed());
            match &answer {
                Ok(answer) => {
                    note.status = Some(answer.status);
                    note.response_bytes = answer.body.len() as u64;
                }
                Err(refusal) => note.error = Some(noted(&refusal.text)),
            }
        }
        message::write(answer)
    }

    async fn send(&self, request: &Request, target: &HttpTarget) -> Result<Answer, Refusal> {
        if !self.granted.iter().any(|pattern| pattern.matches(target)) {
            return Err(Refusal::not_granted(target));
        }
        let headers = headers::to_send(&request.headers, request.body.len(), target)?;
        let headers = self.proxy.secrets.put_into(headers, target)?;
        let stream = connect::connect(&self.proxy, target).await?;
        send::send(stream, target, headers, request.body.clone()).await
    }

    fn refused(&mut self, request: Option<Request>, refusal: Refusal) -> Bytes {
        let note = HttpNote {
            method: request.map_or_else(String::new, |request| noted(&request.method)),
            error: Some(noted(&refusal.text)),
            ..HttpNote::default()
        };
        self.note(note);
        message::write(Err(refusal))
    }

    /// Keeps a note, unless there are enough.
    fn note(&mut self, note: HttpNote) -> bool {
        let keeps = self.log.requests.len() < HTTP_NOTES;
        if keeps {
            self.log.requests.push(note);
        }
        keeps
    }

    /// What the record of the task tells.
    #[must_use]
    pub fn into_log(mut self) -> AccessLog {
        if let (Some(since), Some(note)) = (self.since, self.log.requests.last_mut()) {
            note.elapsed_ms = milliseconds(since.elapsed());
            note.error = Some("the call ended before the answer came".to_owned());
        }
        let http = (self.log.total > 0).then_some(self.log);
        AccessLog { http, denied: self.denied }
    }
}

fn milliseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

impl Refusal {
    fn new(kind: RefusalKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), grant: None }
    }

    fn not_granted(target: &HttpTarget) -> Self {
        let grant = format!("{} {target}", target.method());
        let text = format!("the HTTP request `{grant}` is not granted");
        Self { kind: RefusalKind::Denied, text, grant: Some(grant) }
    }

    fn too_many() -> Self {
        let text = format!("a call may make {HTTP_REQUESTS} HTTP requests, and this one has");
        Self::new(RefusalKind::Limit, text)
    }

    fn timed_out(limit: Duration) -> Self {
        Self::new(RefusalKind::Timeout, format!("timed out after {limit:?}"))
    }
}
