//! The listening sockets: take connections, at most so many, and let them finish at shutdown.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::addresses::{self, CountedConnection};
use crate::app::App;
use crate::client_certificate::ClientCertificate;
use crate::connection::{OpenRequest, Progress, Watched, hang_up};
use crate::listen::{Listener, Listeners};
use crate::middleware::Middleware;
use crate::share::SharePermit;
use crate::socket::Socket;
use crate::streams::{StreamExecutor, Streams};
use crate::tls::{self, Tls};

/// Headers of one request together may have so many bytes.
const HEADER_BYTES: usize = 128 * 1024;
/// Requests that one HTTP/2 connection may have open.
const STREAMS: u32 = 256;
/// What an HTTP/2 peer may send before it is read: for one request, and for all of its connection.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// How often a silent HTTP/2 peer is asked whether it is there, and how long it may take to answer.
const PING: Duration = Duration::from_secs(20);
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
    cut: CancellationToken,
    tls: Option<Tls>,
    /// Requests being answered, over all connections.
    open: Arc<AtomicUsize>,
}

/// Serves until the application drains, then lets open requests finish.
pub(crate) async fn serve(app: Arc<App>, middleware: Middleware, listeners: Listeners) -> Stopped {
    let cut = CancellationToken::new();
    let Listeners { sockets, tls } = listeners;
    let open = Arc::default();
    let server = Server { cut: cut.clone(), middleware, tls, open, app: app.clone() };
    let server = Arc::new(server);
    let connections = TaskTracker::new();
    // Each idle listener holds a permit.
    let room = Arc::new(Semaphore::new(app.config.max_connections + sockets.len() - 1));
    let take = async |listener: Listener| {
        loop {
            // The permit comes first: further connections wait in the kernel's queue, at no cost here.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let (socket, peer) = listener.accept().await;
            connections.spawn(Arc::clone(&server).connection(socket, peer, permit));
        }
    };
    tokio::select! {
        biased;
        () = app.draining.cancelled() => {}
        // Both never end before.
        _ = join_all(sockets.into_iter().map(take)) => {}
        () = server.reload() => {}
    }
    connections.close();
    if tokio::time::timeout(app.config.drain_timeout, connections.wait()).await.is_ok() {
        return Stopped::Drained;
    }
    let left = connections.len();
    cut.cancel();
    connections.wait().await;
    Stopped::Cut(left)
}

fn http(streams: StreamExecutor) -> auto::Builder<StreamExecutor> {
    let mut http = auto::Builder::new(streams);
    // `Watched` knows when headers are late; hyper's own timer would also cut idle connections.
    // No `pipeline_flush`: with it hyper's own answers to broken requests are never sent.
    http.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEADER_BYTES);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_BYTES as u32);
    http
}

impl Server {
    /// Keeps the certificate current. Never returns.
    async fn reload(&self) {
        match &self.tls {
            Some(tls) => match tls.reload().await {},
            None => std::future::pending().await,
        }
    }

    async fn connection(
        self: Arc<Self>,
        socket: Socket,
        peer: Option<IpAddr>,
        permit: OwnedSemaphorePermit,
    ) {
        self.app.metrics.accepted.inc();
        let most = self.app.most_of_address();
        // Of what comes over a proxy the requests count, by what it says of them.
        let counted = peer.filter(|_| !self.app.config.proxies.trusts(peer));
        let Ok(_counted) = self.app.addresses.take(counted, most) else {
            return self.refuse(socket, most.unwrap_or_default()).await;
        };
        self.app.metrics.connections.inc();
        let tls = self.tls.as_ref().filter(|_| matches!(socket, Socket::Tcp(_))).map(Tls::acceptor);
        let socket = Arc::new(socket);
        let progress = Progress::new(Arc::clone(&self.open), peer);
        let stream = Watched::new(Arc::clone(&socket), Arc::clone(&progress));
        match tls {
            None => self.talk(stream, progress, None).await,
            // Boxed: the state of a handshake is large, and most deployments have none.
            Some(tls) => Box::pin(self.talk_over_tls(&socket, stream, progress, tls)).await,
        }
        if let Some(socket) = Arc::into_inner(socket) {
            hang_up(socket).await;
        }
        self.app.metrics.connections.dec();
        drop(permit);
    }

    /// Says to one connection too many why it is closed, unless it speaks TLS.
    async fn refuse(&self, socket: Socket, most: u32) {
        if self.tls.is_none() {
            addresses::answer(&socket, most);
        }
        hang_up(socket).await;
    }

    async fn talk_over_tls(
        &self,
        socket: &Socket,
        mut stream: Watched,
        progress: Arc<Progress>,
        tls: TlsAcceptor,
    ) {
        let handshake = async {
            if tls::is_plain_http(socket).await {
                stream.write_all(tls::ANSWER_TO_PLAIN_HTTP).await?;
                return Err(io::Error::other("the client speaks plain HTTP"));
            }
            tls.accept(stream).await
        };
        let stream = tokio::select! {
            stream = tokio::time::timeout(self.app.config.header_timeout, handshake) => stream,
            () = self.cut.cancelled() => return,
        };
        match stream {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let certificate = shown.map(|shown| ClientCertificate::read(shown));
                self.talk(stream, progress, certificate).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "no TLS connection"),
            Err(_) => tracing::debug!("no TLS connection in time"),
        }
    }

    async fn talk<S>(
        &self,
        stream: S,
        progress: Arc<Progress>,
        certificate: Option<ClientCertificate>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (io, peer) = (TokioIo::new(stream), progress.peer());
        let service = service_fn(|request: Request<Incoming>| {
            let (middleware, open) = (self.middleware.clone(), progress.request());
            // An HTTP/2 connection has many: together no more than one for each connection.
            let has_room = self.open.load(Ordering::Relaxed) <= self.app.config.max_connections;
            async move {
                let mut request = request.map(Body::new);
                certificate.map(|certificate| request.extensions_mut().insert(certificate));
                let mut response = middleware.answer(request, peer, has_room).await;
                let counted =
                    (response.extensions_mut().remove(), response.extensions_mut().remove());
                Ok::<_, Infallible>(response.map(|body| Answer {
                    body,
                    _open: open,
                    _counted: counted,
                }))
            }
        });
        let (executor, streams) = Streams::new();
        let http = http(executor);
        let (mut connection, mut streams) =
            (pin!(http.serve_connection(io, service)), pin!(streams));
        let config = &self.app.config;
        let shortest = config.header_timeout.min(config.write_timeout).min(config.idle_timeout);
        let period = (shortest / 4).max(Duration::from_millis(5));
        let mut is_draining = false;
        loop {
            tokio::select! {
                _ = connection.as_mut() => return,
                never = streams.as_mut() => match never {},
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
    /// Of its address, and of its tenant.
    _counted: (Option<Arc<CountedConnection>>, Option<Arc<SharePermit>>),
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
