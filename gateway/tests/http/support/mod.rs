//! A gateway over its own Redis, a client that sees every byte, and a dispatcher that the test controls.

pub(crate) mod client;
pub(crate) mod guarded;
pub(crate) mod tenants;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use belljar_core::guest::GuestModules;
use belljar_core::id::{DispatcherId, TaskId, WorkerId};
use belljar_core::outcome::{CallVerdict, Outcome, Report};
use belljar_core::task::{Runtime, TaskClass};
use belljar_gateway::{Config, GatewayError, Listener, Listeners, Stopped};
use belljar_store::record::{ClaimedTask, Completion, Demand, Timestamp, WorkerRecord};
use belljar_store::{BlobConfig, BlobPlace, BucketPlace, Store, StoreConfig};
use belljar_testkit::{Bucket, Redis};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use client::Client;

/// `serialize(((2,), {}))`
pub(crate) const ARGS: &str = "gASVCQAAAAAAAABLAoWUfZSGlC4=\n";
/// `builtins.len`, by reference.
pub(crate) const FUNCTION: &str = "gASVFAAAAAAAAACMCGJ1aWx0aW5zlIwDbGVulJOULg==\n";

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) redis: Redis,
    pub(crate) store: Store,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) run: JoinHandle<Result<Stopped, GatewayError>>,
    /// Where large values are.
    pub(crate) values: tempfile::TempDir,
}

pub(crate) fn class() -> TaskClass {
    "native:3.11".parse().expect("a class")
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    /// One with large values in a bucket.
    pub(crate) async fn in_bucket(bucket: &Bucket) -> Self {
        let env = bucket.env().map(|(name, value)| (name.to_owned(), value));
        let place = BucketPlace::new(&bucket.url(), env).expect("a bucket");
        let blobs = BlobConfig::at(BlobPlace::Bucket(Box::new(place)));
        Self::with(|_| {}, |store| store.blobs = Some(blobs)).await
    }

    pub(crate) async fn with(
        configure: impl FnOnce(&mut Config),
        configure_store: impl FnOnce(&mut StoreConfig),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self::build(listener.into(), configure, configure_store).await
    }

    /// A gateway that listens there; its address is that of the first listener of TCP.
    pub(crate) async fn on(listeners: Listeners, configure: impl FnOnce(&mut Config)) -> Self {
        Self::build(listeners, configure, |_| {}).await
    }

    async fn build(
        listeners: Listeners,
        configure: impl FnOnce(&mut Config),
        configure_store: impl FnOnce(&mut StoreConfig),
    ) -> Self {
        let redis = Redis::start().expect("redis-server is installed");
        let mut config = Config::new(class());
        configure(&mut config);
        let mut store_config = StoreConfig::new(redis.url());
        store_config.timeout = Duration::from_secs(2);
        let values = tempfile::tempdir().expect("a directory");
        store_config.blobs = Some(BlobConfig::new(values.path().to_owned()));
        configure_store(&mut store_config);
        let store = Store::connect(store_config).await.expect("a store");
        let tcp = listeners.sockets.iter().find_map(|listener| match listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        });
        let address = tcp.expect("an address");
        let shutdown = CancellationToken::new();
        let run = belljar_gateway::run(config, listeners, store.clone(), shutdown.clone());
        let run = tokio::spawn(run);
        Self { redis, store, address, shutdown, run, values }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Registers a function and returns its id.
    pub(crate) async fn register(&self) -> String {
        self.register_with(json!({"name": "len", "payload": FUNCTION})).await
    }

    pub(crate) async fn register_with(&self, body: Value) -> String {
        let reply = self.client().post("/register_function", &body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.text_at("function_id")
    }

    /// Submits a call and returns its task's id.
    pub(crate) async fn execute(&self, function_id: &str) -> String {
        let body = json!({"function_id": function_id, "payload": ARGS});
        let reply = self.client().post("/execute_function", &body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.text_at("task_id")
    }
}

/// A dispatcher that acts only when the test says so.
pub(crate) struct Dispatcher {
    store: Store,
    pub(crate) id: DispatcherId,
    worker: WorkerId,
    classes: Vec<TaskClass>,
}

impl Dispatcher {
    pub(crate) async fn start(store: &Store, classes: &[&str]) -> Self {
        let classes = classes.iter().map(|class| class.parse().expect("a class")).collect();
        let ids = (DispatcherId::random(), WorkerId::random());
        let dispatcher = Self { store: store.clone(), id: ids.0, worker: ids.1, classes };
        dispatcher.beat().await;
        dispatcher
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) async fn beat(&self) {
        self.beat_busy(0).await;
    }

    /// A heartbeat that says so many of its two slots are busy.
    pub(crate) async fn beat_busy(&self, busy: u32) {
        let worker = WorkerRecord {
            id: self.worker,
            dispatcher: self.id,
            mode: "push".to_owned(),
            host: "here".to_owned(),
            pid: 1,
            version: "0.1.0".to_owned(),
            draining: false,
            slots: 2,
            busy,
            classes: self.classes.clone(),
            guests: self.classes.iter().filter_map(guest_of).collect(),
            since: Timestamp(1),
        };
        self.store.heartbeat(self.id, &self.classes, &[worker]).await.expect("a beat");
    }

    pub(crate) async fn claim(&self, count: usize) -> Vec<ClaimedTask> {
        let want = Demand { classes: self.classes.clone(), count, reserved: 0 };
        self.store.claim(self.id, &[want]).await.expect("a claim")
    }

    pub(crate) async fn finish(&self, task: &ClaimedTask, verdict: CallVerdict) {
        let outcome = Outcome::bare(verdict, Duration::from_millis(3));
        self.finish_with(task, outcome).await;
    }

    pub(crate) async fn finish_with(&self, task: &ClaimedTask, outcome: Outcome) {
        let report = Report { task: task.task(), outcome };
        let finished = Completion { worker: self.worker, report };
        self.store.complete(self.id, 0, &[finished]).await.expect("a finish");
    }

    /// Claims one task and completes it with `value`.
    pub(crate) async fn complete_one(&self, value: &'static [u8]) -> TaskId {
        let task = self.claim(1).await.pop().expect("a task is queued");
        self.finish(&task, CallVerdict::Completed(Bytes::from_static(value))).await;
        task.id()
    }
}

/// What the guest of a class lacks, if it has one.
fn guest_of(class: &TaskClass) -> Option<GuestModules> {
    let missing = ["ctypes", "sqlite3"].map(str::to_owned).to_vec();
    let guest = GuestModules { python: class.python, missing, added: BTreeMap::new() };
    Some(guest).filter(|_| class.runtime == Runtime::Sandbox)
}

/// Waits until `fact` is true, for at most five seconds.
pub(crate) async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    for _ in 0..1_000 {
        if fact().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}: not within five seconds");
}
