//! The HTTP that a bucket is reached by: over the TLS that is there already, and the authorities that this machine trusts.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::rustls::crypto::ring;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer may take to begin; longer where much is sent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const SENT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an answer may pause.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a connection that nobody uses stays open.
const IDLE: Duration = Duration::from_secs(30);

/// Makes clients.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut tcp = Tcp::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(ring::default_provider())
            .map_err(|source| object_store::Error::Generic { store: "S3", source: source.into() })?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(https);
        Ok(HttpClient::new(Service(client)))
    }
}

struct Service(Client<HttpsConnector<Tcp>, HttpRequestBody>);

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service")
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let limit = if request.body().content_length() > 0 { SENT_TIMEOUT } else { ANSWER_TIMEOUT };
        let answer = match timeout(limit, self.0.request(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if error.is_connect() => {
                return Err(http_error(HttpErrorKind::Connect, &error));
            }
            // Nothing that is asked here does harm when it is asked twice.
            Ok(Err(error)) => return Err(http_error(HttpErrorKind::Request, &error)),
            Err(_) => return Err(late(limit)),
        };
        Ok(answer.map(|body| {
            let body = body.map_err(|error| http_error(HttpErrorKind::Interrupted, &error));
            HttpResponseBody::new(Timed { body, patience: None })
        }))
    }
}

/// An error with its causes: a port that is closed and a certificate that is refused differ in nothing else.
fn http_error(kind: HttpErrorKind, error: &(dyn Error + 'static)) -> HttpError {
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    HttpError::new(kind, io::Error::other(text))
}

fn late(limit: Duration) -> HttpError {
    let text = format!("no answer within {limit:?}");
    HttpError::new(HttpErrorKind::Timeout, io::Error::new(io::ErrorKind::TimedOut, text))
}

/// The body of an answer, which may not pause for long. Who reads it may.
struct Timed<B> {
    body: B,
    /// While something is awaited.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<B> Body for Timed<B>
where
    B: Body<Data = Bytes, Error = HttpError> + Unpin,
{
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.patience = None;
            return Poll::Ready(frame);
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(PAUSE)));
        ready!(patience.as_mut().poll(context));
        Poll::Ready(Some(Err(late(PAUSE))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

const _: fn() = || {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Incoming>();
};
