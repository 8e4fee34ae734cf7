//! A private Redis, dispatchers on free ports, workers with real children, and a client that waits for tasks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use belljar_core::id::{FunctionId, TaskId};
use belljar_core::message::{DeliveryMode, Secret};
use belljar_core::task::{CodeHash, Priority, TaskLimits, TaskSpec, TaskStatus};
use belljar_core::tenant::Tenant;
use belljar_core::warm::WarmMode;
use belljar_dispatcher::{Config, DispatcherError, RemoteConfig, Workers};
use belljar_store::record::{FunctionRecord, NewTask, TaskResult, Timestamp};
use belljar_store::{
    BlobConfig, BlobPlace, BucketPlace, NamedArgs, Store, StoreConfig, Subscription, Topic,
};
use belljar_wire::{Authentication, ConnectConfig, Endpoint, ListenConfig, ListenError};
use belljar_worker::transport::{WorkerConfig, WorkerError};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::{function, native, pool, value};

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A private Redis, and a directory for files of the test.
pub(crate) struct Redis {
    server: belljar_testkit::Redis,
    blobs: Option<BlobConfig>,
    pub(crate) named_args: NamedArgs,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let server = belljar_testkit::Redis::start().expect("redis-server is installed");
        Self { server, blobs: None, named_args: NamedArgs::from(u64::MAX) }
    }

    /// One with large values in files, below `blobs`.
    pub(crate) fn start_with_blobs() -> Self {
        let redis = Self::start();
        let blobs = Some(BlobConfig::new(redis.file("blobs")));
        Self { blobs, ..redis }
    }

    /// One with large values in a bucket.
    pub(crate) fn start_with_bucket(place: BucketPlace) -> Self {
        let blobs = Some(BlobConfig::at(BlobPlace::Bucket(Box::new(place))));
        Self { blobs, ..Self::start() }
    }

    pub(crate) async fn store(&self) -> Store {
        let config = StoreConfig::new(self.url());
        let named_args_from = Some(self.named_args.clone());
        let config = StoreConfig { blobs: self.blobs.clone(), named_args_from, ..config };
        Store::connect(config).await.expect("a store")
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.server.dir().join(name)
    }
}

/// A dispatcher in this process.
pub(crate) struct Dispatcher {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<Result<(), DispatcherError>>,
}

impl Dispatcher {
    pub(crate) async fn start(redis: &Redis, mode: DeliveryMode) -> Self {
        Self::start_at(redis, mode, 0, None).await
    }

    pub(crate) async fn start_at(
        redis: &Redis,
        mode: DeliveryMode,
        port: u16,
        secret: Option<&str>,
    ) -> Self {
        let secret = secret.map(|text| Secret::new(text).expect("long enough"));
        Self::start_with(redis, port, |listen| RemoteConfig::new(listen, mode, secret.clone()))
            .await
    }

    /// Waits for the port, which an earlier dispatcher may still be closing.
    pub(crate) async fn start_with(
        redis: &Redis,
        port: u16,
        config: impl Fn(ListenConfig) -> RemoteConfig,
    ) -> Self {
        let begin = Instant::now();
        loop {
            let listen = ListenConfig::new(Endpoint::new("127.0.0.1", port), Authentication::None);
            let (listening, address) = oneshot::channel();
            let remote = RemoteConfig { listening: Some(listening), ..config(listen) };
            let config = Config {
                workers: Workers::Remote(Box::new(remote)),
                host: "here".to_owned(),
                reserved_slots: 0,
                drain_timeout: Duration::from_secs(20),
                metrics: None,
                traces: None,
            };
            let shutdown = CancellationToken::new();
            let run = belljar_dispatcher::run(config, redis.store().await, shutdown.clone());
            let running = tokio::spawn(run);
            if let Ok(address) = timeout(PATIENCE, address).await.expect("a port in time") {
                return Self { address, shutdown, running };
            }
            let ended = running.await.expect("no panic");
            let is_taken = matches!(&ended, Err(DispatcherError::Listen(ListenError::Bind(..))));
            assert!(is_taken && begin.elapsed() < PATIENCE, "{ended:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it as `kill -9` would, as far as workers and store can tell.
    pub(crate) async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }

    /// Asks it to leave and waits until it has left.
    pub(crate) async fn leave(self) {
        self.shutdown.cancel();
        let ended = timeout(PATIENCE, self.running).await.expect("in time").expect("no panic");
        ended.expect("a good end");
    }
}

/// A worker in this process, whose slots are other processes.
pub(crate) struct Worker {
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<Result<(), WorkerError>>,
}

impl Worker {
    pub(crate) fn start(mode: DeliveryMode, slots: usize, address: SocketAddr) -> Self {
        Self::start_with(mode, slots, address, None)
    }

    pub(crate) fn start_with(
        mode: DeliveryMode,
        slots: usize,
        address: SocketAddr,
        secret: Option<&str>,
    ) -> Self {
        let secret = secret.map(|text| Secret::new(text).expect("long enough"));
        Self::of(WorkerConfig { secret, ..Self::config(mode, slots, address) })
    }

    pub(crate) fn config(mode: DeliveryMode, slots: usize, address: SocketAddr) -> WorkerConfig {
        WorkerConfig {
            endpoint: ConnectConfig::new(Endpoint::new(address.ip().to_string(), address.port())),
            mode,
            secret: None,
            blobs: None,
            pool: pool(slots),
            host: "there".to_owned(),
            version: "0".to_owned(),
            drain_timeout: Duration::from_secs(20),
            metrics: None,
        }
    }

    pub(crate) fn of(config: WorkerConfig) -> Self {
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(belljar_worker::transport::run(config, shutdown.clone()));
        Self { shutdown, running }
    }

    pub(crate) async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }

    /// Asks it to leave and waits until it has left.
    pub(crate) async fn leave(self) {
        self.shutdown.cancel();
        let ended = timeout(PATIENCE, self.running).await.expect("in time").expect("no panic");
        ended.expect("a good end");
    }
}

/// A client of the store.
pub(crate) struct Client {
    pub(crate) store: Store,
    notices: Subscription,
}

impl Client {
    pub(crate) async fn new(redis: &Redis) -> Self {
        let store = redis.store().await;
        let notices = store.subscribe(&[Topic::Ended]).await.expect("subscribed");
        Self { store, notices }
    }

    /// Calls of `f` in `source`, each with one of `args`.
    pub(crate) async fn submit(&self, source: &str, args: &[String]) -> Vec<TaskId> {
        let code = function(source);
        let limits = TaskLimits { timeout_ms: 60_000, ..TaskLimits::DEFAULT };
        let (id, hash) = (FunctionId::random(), CodeHash::of(&code));
        let record = FunctionRecord {
            id,
            name: "f".to_owned(),
            description: String::new(),
            class: native(),
            tenant: Tenant::default(),
            limits,
            grants: None,
            requirements: Vec::new(),
            packages: None,
            warm: WarmMode::Auto,
            code: hash,
            code_bytes: code.len() as u64,
            registered_at: Timestamp::default(),
            ttl_s: None,
        };
        self.store.put_function(record, code).await.expect("registered");
        let spec = TaskSpec {
            function_id: id,
            code: hash,
            class: native(),
            limits,
            priority: Priority::Normal,
            grants: None,
            packages: None,
            warm: WarmMode::Auto,
        };
        let task = |args: &String| NewTask {
            id: TaskId::random(),
            spec: spec.clone(),
            args: value(args),
            delay_ms: 0,
            session: None,
            idempotency: None,
            trace: None,
        };
        self.store.submit(args.iter().map(task).collect()).await.expect("accepted")
    }

    /// Waits until all have ended.
    pub(crate) async fn results(&mut self, ids: &[TaskId]) -> Vec<TaskResult> {
        let waiting = async {
            let mut ended = HashMap::new();
            loop {
                let results = self.store.results(ids).await.expect("read");
                for (id, result) in ids.iter().zip(results.into_iter().flatten()) {
                    if result.status.is_terminal() {
                        ended.insert(*id, result);
                    }
                }
                if ids.iter().all(|id| ended.contains_key(id)) {
                    return ids.iter().map(|id| ended[id].clone()).collect();
                }
                self.notices.next().await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("ends in time")
    }

    /// The results of the tasks, all of which must complete.
    pub(crate) async fn values(&mut self, ids: &[TaskId]) -> Vec<Bytes> {
        let value = |result: TaskResult| {
            let text = String::from_utf8_lossy(&result.result).into_owned();
            assert_eq!(result.status, TaskStatus::Completed, "{text}");
            result.result
        };
        self.results(ids).await.into_iter().map(value).collect()
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let begin = Instant::now();
    while !is_so().await {
        assert!(begin.elapsed() < PATIENCE, "{what} in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until a file has `count` lines.
pub(crate) async fn lines(file: &std::path::Path, count: usize) -> Vec<String> {
    let begin = Instant::now();
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(begin.elapsed() < PATIENCE, "{count} lines in time: {lines:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
