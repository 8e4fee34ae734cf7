//! A bucket: an S3 server in this process, over a directory. The program `belljar-bucket` is one that can be killed.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

const NAME: &str = "values";
const KEY: &str = "belljar";
const SECRET: &str = "a secret of tests";

/// An S3 server with one bucket, on a port of its own. Dropping it ends it.
pub struct Bucket {
    directory: PathBuf,
    address: SocketAddr,
    switch: Arc<Switch>,
    _stop: oneshot::Sender<()>,
    _scratch: Option<TempDir>,
}

struct Switch {
    presence: watch::Sender<Presence>,
    connections: AtomicUsize,
}

/// What a bucket does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Here,
    Away,
    Silent,
}

impl Bucket {
    /// Starts one, on a thread of its own.
    ///
    /// # Errors
    /// There is no port, or no directory.
    pub fn start() -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let bucket = Self::start_at(scratch.path().to_owned(), "127.0.0.1:0")?;
        Ok(Self { _scratch: Some(scratch), ..bucket })
    }

    /// One at an address, with the objects that are in the directory already.
    ///
    /// # Errors
    /// The address is taken, or the directory cannot be written to.
    pub fn start_at(directory: PathBuf, address: &str) -> Result<Self> {
        std::fs::create_dir_all(directory.join(NAME))?;
        let files = FileSystem::new(&directory).ok().context("no directory")?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = service.build();
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (presence, connections) = (watch::Sender::new(Presence::Here), AtomicUsize::new(0));
        let switch = Arc::new(Switch { presence, connections });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = Arc::clone(&switch);
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, service, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { directory, address, switch, _stop: stop, _scratch: None })
    }

    /// Its URL, with a prefix.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{NAME}/deployment")
    }

    /// The environment in which it is reached.
    #[must_use]
    pub fn env(&self) -> [(&'static str, String); 3] {
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
    }

    /// Where its objects are files, by their names.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Has it go away, or come back: it takes connections, and closes them.
    pub fn set_away(&self, is_away: bool) {
        let presence = if is_away { Presence::Away } else { Presence::Here };
        self.switch.presence.send_replace(presence);
    }

    /// Has it be silent, or answer: it takes requests, and answers when it is not silent any more.
    pub fn set_silent(&self, is_silent: bool) {
        let presence = if is_silent { Presence::Silent } else { Presence::Here };
        self.switch.presence.send_replace(presence);
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.switch.connections.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, service: S3Service, switch: Arc<Switch>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        switch.connections.fetch_add(1, Ordering::SeqCst);
        let (service, switch) = (service.clone(), Arc::clone(&switch));
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            let service = hyper::service::service_fn(move |request| {
                let (service, mut presence) = (service.clone(), switch.presence.subscribe());
                async move {
                    let told = presence.wait_for(|now| *now != Presence::Silent).await;
                    // As a connection that breaks.
                    if !told.is_ok_and(|now| *now == Presence::Here) {
                        return Err("it is away".to_owned());
                    }
                    let answer = hyper::service::Service::call(&service, request).await;
                    answer.map_err(|error| format!("{error:?}"))
                }
            });
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
