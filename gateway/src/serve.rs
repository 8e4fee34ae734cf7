//! The listening socket: takes connections, at most so many, and lets them finish at shutdown.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::connection::{OpenRequest, Progress, Watched, hang_up};
use crate::middleware::Middleware;

/// Headers of one request together may have so many bytes.
const HEADER_BYTES: usize = 128 * 1024;
/// Requests that one HTTP/2 connection may have open.
const STREAMS: u32 = 256;
/// How often a silent HTTP/2 peer is asked whether it is there, and how long it may take to answer.
const PING: Duration = Duration::from_secs(20);
/// How long to wait when no connection can be accepted because descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Every open request was answered.
    Drained,
    /// So many connections were cut: they had not finished in time.
    Cut(usize),
}

/// What the connections of one gateway share.
struct Server {
    app: Arc<App>,
    middleware: Middleware,
    http: auto::Builder<TokioExecutor>,
    cut: CancellationToken,
}

/// Serves until the application drains, then lets open requests finish.
pub(crate) async fn serve(app: Arc<App>, middleware: Middleware, listener: TcpListener) -> Stopped {
    let cut = CancellationToken::new();
    let server =
        Arc::new(Server { http: http(), cut: cut.clone(), middleware, app: Arc::clone(&app) });
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(app.config.max_connections));
    loop {
        // The permit comes first: further connections wait in the kernel's queue, at no cost here.
        let taken = async {
            let permit = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((accept(&listener).await, permit))
        };
        let taken = tokio::select! {
            biased;
            () = app.draining.cancelled() => break,
            taken = taken => taken,
        };
        let Some((stream, permit)) = taken else { break };
        connections.spawn(Arc::clone(&server).connection(stream, permit));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(app.config.drain_timeout, connections.wait()).await.is_ok() {
        return Stopped::Drained;
    }
    let left = connections.len();
    cut.cancel();
    connections.wait().await;
    Stopped::Cut(left)
}

/// The next connection. Failures concern single connections or pass: the loop goes on.
async fn accept(listener: &TcpListener) -> TcpStream {
    let mut is_warned = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if !is_warned {
                    tracing::warn!(
                        %error,
                        "cannot take connections: raise the limit of open files (`ulimit -n`)"
                    );
                }
                is_warned = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // `Watched` knows when headers are late; hyper's own timer would also cut idle connections.
    // No `pipeline_flush`: with it hyper's own answers to broken requests are never sent.
    http.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEADER_BYTES);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES as u32);
    http
}

impl Server {
    async fn connection(self: Arc<Self>, stream: TcpStream, permit: OwnedSemaphorePermit) {
        self.app.metrics.accepted.inc();
        self.app.metrics.connections.inc();
        // Small answers leave at once; where that cannot be set they are only slower.
        let _ = stream.set_nodelay(true);
        let stream = Arc::new(stream);
        self.talk(Arc::clone(&stream)).await;
        if let Some(stream) = Arc::into_inner(stream) {
            hang_up(stream).await;
        }
        self.app.metrics.connections.dec();
        drop(permit);
    }

    async fn talk(&self, stream: Arc<TcpStream>) {
        let progress = Progress::new();
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&progress)));
        let service = service_fn(|request: Request<Incoming>| {
            let (middleware, open) = (self.middleware.clone(), progress.request());
            async move {
                let response = middleware.answer(request.map(Body::new)).await;
                Ok::<_, Infallible>(response.map(|body| Answer { body, _open: open }))
            }
        });
        let mut connection = pin!(self.http.serve_connection(io, service));
        let config = &self.app.config;
        let shortest = config.header_timeout.min(config.write_timeout).min(config.idle_timeout);
        let period = (shortest / 4).max(Duration::from_millis(5));
        let mut is_draining = false;
        loop {
            tokio::select! {
                _ = connection.as_mut() => return,
                () = self.cut.cancelled() => return,
                () = self.app.draining.cancelled(), if !is_draining => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = tokio::time::sleep(period) => {
                    if let Some(why) = progress.stall(config) {
                        tracing::debug!(why, "connection cut");
                        return;
                    }
                }
            }
        }
    }
}

/// The body of an answer; the request counts as open until its last byte was handed on.
struct Answer {
    body: Body,
    _open: OpenRequest,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
