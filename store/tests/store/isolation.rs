//! Deployments that share a server and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use belljar_core::id::{DispatcherId, WorkerId};
use belljar_core::live::{LiveChunk, LiveUpdate, Progress};
use belljar_core::tenant::Tenant;
use belljar_store::{Store, StoreConfig, StoreEvent, Subscription, Topic};
use bytes::Bytes;
use tokio::time::timeout;

use crate::functions::function;
use crate::harness::{
    NOBODY, Redis, audit, claim_one, completed, demand, native, next_event, task,
};

/// One deployment, with a subscription to everything.
struct Deployment {
    store: Store,
    dispatcher: DispatcherId,
    events: Subscription,
}

impl Deployment {
    /// Subscribes as the `dispatcher`, whose id other deployments have too.
    async fn connect(config: StoreConfig, dispatcher: DispatcherId) -> Self {
        let store = Store::connect(config).await.expect("the server is suitable");
        let topics = [
            Topic::Ended,
            Topic::StatusChanges,
            Topic::Work,
            Topic::Cancel,
            Topic::Watches,
            Topic::Drains,
            Topic::Live,
            Topic::RemovedFunctions,
            Topic::Deliveries(dispatcher),
        ];
        let mut events = store.subscribe(&topics).await.expect("subscribed");
        assert_eq!(next_event(&mut events).await, StoreEvent::Connected);
        Self { store, dispatcher, events }
    }

    /// Publishes on every channel, and leaves a task in every state.
    async fn use_everything(&self) {
        let Self { store, dispatcher, .. } = self;
        store.heartbeat(*dispatcher, &[native()], &[]).await.expect("alive");
        store.submit(vec![task()]).await.expect("queued");
        let ended = claim_one(store, *dispatcher).await;
        store.complete(NOBODY, 0, &[completed(ended.task(), b"v")]).await.expect("completed");
        assert_eq!(store.claim(*dispatcher, &demand(1)).await.expect("claimed"), []);
        let delivered = store.submit(vec![task()]).await.expect("delivered")[0];
        store.cancel(delivered).await.expect("cancelled");
        store.watch_task(delivered, true).await.expect("watched");
        store.drain_worker(WorkerId::from_bytes([1; 16])).await.expect("asked to leave");
        let (stdout, stderr) = (LiveChunk::default(), LiveChunk::default());
        let progress = Progress::new(1.0, None, String::new());
        let update = LiveUpdate { task: ended.task(), stdout, stderr, progress };
        store.publish_live(&[update]).await.expect("shown");
        assert_eq!(store.claim(*dispatcher, &demand(1)).await.expect("claimed"), []);
        store.submit(vec![task(), task()]).await.expect("announced");
        let (code, default) = (Bytes::from_static(b"code"), Tenant::default());
        let kept = store.put_function(function("f", &code), code).await.expect("stored");
        assert!(store.of(&default).remove_function(kept.id).await.expect("removed"));
    }

    /// The kinds of the events so far.
    async fn kinds(&mut self) -> BTreeSet<&'static str> {
        let mut kinds = BTreeSet::new();
        while let Ok(event) = timeout(Duration::from_millis(300), self.events.next()).await {
            kinds.insert(match event {
                StoreEvent::Ended(_) => "ended",
                StoreEvent::StatusChanged(..) => "status",
                StoreEvent::Work | StoreEvent::Delayed => "work",
                StoreEvent::Delivered { .. } => "delivered",
                StoreEvent::Cancel(_) => "cancel",
                StoreEvent::WatchRequested { .. } => "watch",
                StoreEvent::DrainRequested(_) => "drain",
                StoreEvent::Live(_) => "live",
                StoreEvent::FunctionRemoved(_) => "function",
                StoreEvent::Connected => "connected",
            });
        }
        kinds
    }
}

/// Both deployments have the same dispatcher: only the names of keys and channels separate them.
async fn assert_isolated(one: StoreConfig, other: StoreConfig) {
    let dispatcher = DispatcherId::random();
    let mut one = Deployment::connect(one, dispatcher).await;
    let mut other = Deployment::connect(other, dispatcher).await;
    one.use_everything().await;
    assert_eq!(
        one.kinds().await,
        ["cancel", "delivered", "drain", "ended", "function", "live", "status", "watch", "work"]
            .into()
    );
    assert_eq!(other.kinds().await, [].into(), "no message of the other deployment");
    assert_eq!(audit(&one.store).await.counts.accepted, 4);
    assert_eq!(audit(&other.store).await.counts.accepted, 0);
    assert_eq!(other.store.served_classes().await.expect("read"), []);
    assert_eq!(other.store.leased(dispatcher).await.expect("read"), []);
    assert_eq!(other.store.claim(dispatcher, &demand(9)).await.expect("claimed"), []);
    // Withdraws that demand again.
    assert_eq!(other.store.claim(dispatcher, &[]).await.expect("claimed"), []);
    other.use_everything().await;
    assert_eq!(audit(&one.store).await.counts.accepted, 4);
    assert_eq!(one.kinds().await, [].into(), "no message of the other deployment");
}

#[tokio::test]
async fn two_prefixes_of_a_server_share_nothing() {
    let redis = Redis::start().await;
    let config = |prefix: &str| StoreConfig { prefix: prefix.to_owned(), ..redis.config() };
    // A prefix that begins as the other does is another one.
    assert_isolated(config("one"), config("one:0")).await;
    let keys: Vec<String> = redis.command(&["KEYS", "*"]).await;
    let (one, other): (Vec<_>, Vec<_>) = keys.iter().partition(|key| key.starts_with("{one}:"));
    assert!(other.iter().all(|key| key.starts_with("{one:0}:")), "{other:?}");
    assert_eq!(one.len(), other.len(), "both used the same keys: {keys:?}");
}

#[tokio::test]
async fn two_databases_of_a_server_share_nothing() {
    let redis = Redis::start().await;
    let config = |database: u8| {
        let config = redis.config();
        StoreConfig { url: format!("{}?db={database}", config.url), ..config }
    };
    assert_isolated(config(0), config(1)).await;
}

#[tokio::test]
async fn what_another_layout_has_written_is_left_alone() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    store.submit(vec![task()]).await.expect("accepted");
    Store::connect(redis.config()).await.expect("the same layout, with a backlog");
    assert_eq!(redis.command::<String>(&["GET", "{belljar}:format"]).await, "2");
    for other in ["0", "3", "x"] {
        redis.command::<String>(&["SET", "{belljar}:format", other]).await;
        let refused = Store::connect(redis.config()).await.err().expect("refused").to_string();
        assert!(
            refused.contains(&format!("in format {other}, where this one has format 2")),
            "{refused}"
        );
        assert!(refused.contains("another --redis-prefix"), "{refused}");
    }
    let config = StoreConfig { prefix: "new".to_owned(), ..redis.config() };
    Store::connect(config).await.expect("nothing is there under this prefix");
}
