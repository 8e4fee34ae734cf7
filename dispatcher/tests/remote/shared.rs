//! Large values between a dispatcher and workers that share its directory or bucket, and those that do not.

use std::path::PathBuf;
use std::sync::Arc;

use belljar_core::grants::GrantPolicy;
use belljar_core::id::TaskId;
use belljar_core::limits::{MAX_SENT_ARGS_BYTES, SHARED_ARGS_BYTES};
use belljar_core::message::{DeliveryMode, RejectReason};
use belljar_core::result_file;
use belljar_core::shared_blobs::SharedBlobs;
use belljar_core::task::{Attempt, PythonVersion, TaskAttempt, TaskStatus};
use belljar_dispatcher::RemoteConfig;
use belljar_store::{BucketPlace, SharedBucket};
use belljar_testkit::Bucket;
use belljar_worker::ChildCommand;
use belljar_worker::config::PoolConfig;
use belljar_worker::executor::NativeExecutor;
use belljar_worker::transport::{WorkerConfig, WorkerError};

use crate::harness::{Client, Dispatcher, Redis, Worker, until};
use crate::{refused, support};

const GROW: &str = "def f(x): return x + b'y' * (9 << 20)";
/// In a message or in a file.
const LONG: &str = "((b'x' * (2 << 20),), {})";
/// More than goes by a message.
const TOO_LONG: &str = "((b'x' * (61 << 20),), {})";

/// Where large values are in a test.
struct Place {
    redis: Redis,
    bucket: Option<Bucket>,
}

impl Place {
    fn directory() -> Self {
        Self { redis: Redis::start_with_blobs(), bucket: None }
    }

    fn bucket() -> Self {
        let bucket = Bucket::start().expect("a bucket");
        let redis = Redis::start_with_bucket(below(&bucket, "deployment"));
        Self { redis, bucket: Some(bucket) }
    }

    /// That of the dispatcher.
    fn shared(&self) -> SharedBlobs {
        match &self.bucket {
            None => SharedBlobs::Directory(self.redis.file("blobs").into()),
            Some(bucket) => open(below(bucket, "deployment")),
        }
    }

    /// That of another deployment.
    fn other(&self) -> SharedBlobs {
        let (directory, other) = match &self.bucket {
            None => {
                let directory = self.redis.file("other");
                (directory.clone(), SharedBlobs::Directory(directory.into()))
            }
            Some(bucket) => (bucket.directory().join("values/other"), open(below(bucket, "other"))),
        };
        std::fs::create_dir(&directory).expect("made");
        std::fs::write(directory.join("owner"), "another").expect("written");
        other
    }

    async fn dispatcher(&self, mode: DeliveryMode) -> Dispatcher {
        let owner = self.redis.store().await.blob_owner().await.expect("read");
        Dispatcher::start_with(&self.redis, 0, |listen| RemoteConfig {
            blobs: owner.clone(),
            named_args: Some(self.redis.named_args.clone()),
            ..RemoteConfig::new(listen, mode, None)
        })
        .await
    }

    /// Whether the worker itself has written the result of a task to the bucket.
    fn has_result_of_worker(&self, task: TaskId) -> bool {
        let Some(bucket) = &self.bucket else { return true };
        let name = result_file::path(TaskAttempt { task_id: task, attempt: Attempt(1) });
        bucket.directory().join("values/deployment").join(name).exists()
    }
}

fn below(bucket: &Bucket, prefix: &str) -> BucketPlace {
    let env = bucket.env().map(|(name, value)| (name.to_owned(), value));
    let url = bucket.url().replace("deployment", prefix);
    BucketPlace::new(&url, env).expect("a bucket")
}

fn open(place: BucketPlace) -> SharedBlobs {
    SharedBlobs::Bucket(Arc::new(SharedBucket::open(place).expect("opened")))
}

/// A worker with this directory or bucket, by which it passes what is long.
fn sharing(config: WorkerConfig, blobs: SharedBlobs) -> WorkerConfig {
    let blobs = Some(blobs);
    let command =
        ChildCommand { blobs: blobs.clone(), max_result_bytes: 1 << 30, ..support::command() };
    let executor = NativeExecutor::new(PythonVersion::default(), command, GrantPolicy::default());
    WorkerConfig { blobs, pool: PoolConfig::new(1, vec![Arc::new(executor)]), ..config }
}

async fn passes_values(place: Place, mode: DeliveryMode) {
    let redis = &place.redis;
    let dispatcher = place.dispatcher(mode).await;
    let config = || Worker::config(mode, 1, dispatcher.address);
    let mut client = Client::new(redis).await;

    let error = refused(Worker::of(sharing(config(), place.other()))).await;
    let is_theirs = matches!(error, WorkerError::Refused { reason: RejectReason::Blobs, .. });
    assert!(is_theirs && error.to_string().contains("is not the dispatcher's"), "{error}");

    let worker = Worker::of(config());
    let short = ["((b'',), {})".to_owned()];
    let ids = client.submit(GROW, &short).await;
    client.results(&ids).await;
    assert_eq!(redis.named_args.get(), MAX_SENT_ARGS_BYTES + 1, "it does not share the directory");
    // As if it had come after they were claimed for one that does: they go back until they are as it needs them.
    redis.named_args.set(SHARED_ARGS_BYTES);
    let [long, too_long] = [LONG, TOO_LONG].map(str::to_owned);
    let (long, too_long) =
        (client.submit(GROW, &[long]).await, client.submit(GROW, &[too_long]).await);
    let result = client.results(&too_long).await.remove(0);
    let told = support::read(&result.result);
    assert!(result.status == TaskStatus::Failed && told.contains("--blobs"), "{told}");
    redis.named_args.set(MAX_SENT_ARGS_BYTES + 1);
    assert!(support::read(&client.values(&long).await[0]).starts_with("b'xxx"));
    worker.leave().await;

    let worker = Worker::of(sharing(config(), place.shared()));
    let ids = client.submit(GROW, &short).await;
    client.results(&ids).await;
    assert_eq!(redis.named_args.get(), SHARED_ARGS_BYTES, "all that are there share it");
    let ids = client.submit(GROW, &[LONG.to_owned(), "((b'',), {})".to_owned()]).await;
    for (value, length) in client.values(&ids).await.iter().zip([11 << 20, 9 << 20]) {
        let text = support::read(value);
        assert!(text.len() == length + 3 && text.ends_with("yyy'"), "{}", text.len());
        assert_eq!(text.starts_with("b'xxx"), length == 11 << 20);
    }
    assert!(ids.iter().all(|id| place.has_result_of_worker(*id)));
    worker.leave().await;
    dispatcher.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_worker_shares_the_directory() {
    passes_values(Place::directory(), DeliveryMode::Push).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_worker_shares_the_bucket() {
    passes_values(Place::bucket(), DeliveryMode::Push).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_worker_shares_the_directory() {
    passes_values(Place::directory(), DeliveryMode::Pull).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_worker_shares_the_bucket() {
    passes_values(Place::bucket(), DeliveryMode::Pull).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_for_those_who_both_have_it() {
    let place = Place::directory();
    place.redis.store().await;
    let dispatcher = Dispatcher::start(&place.redis, DeliveryMode::Push).await;
    let config = Worker::config(DeliveryMode::Push, 1, dispatcher.address);
    let error = refused(Worker::of(sharing(config, place.shared()))).await.to_string();
    assert!(error.contains("the dispatcher has none") && error.contains("--blobs"), "{error}");
    dispatcher.leave().await;
}

/// Waits for a file, and returns so many MiB.
const HELD: &str = "
def f(started, go, mebibytes):
    import os, time
    open(started, 'w').close()
    while not os.path.exists(go):
        time.sleep(0.005)
    return b'z' * (mebibytes << 20)
";

/// The arguments of a call that is held until the file `go-NAME` is there, and what it makes when it runs.
fn held(place: &Place, name: &str, mebibytes: u32) -> (String, PathBuf, PathBuf) {
    let file = |kind: &str| place.redis.file(&format!("{kind}-{name}"));
    let (started, go) = (file("started"), file("go"));
    (format!("(({started:?}, {go:?}, {mebibytes}), {{}})"), started, go)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_away_costs_no_result() {
    let place = Place::bucket();
    let bucket = place.bucket.as_ref().expect("a bucket");
    let dispatcher = place.dispatcher(DeliveryMode::Push).await;
    let config = Worker::config(DeliveryMode::Push, 1, dispatcher.address);
    let worker = Worker::of(sharing(config, place.shared()));
    let mut client = Client::new(&place.redis).await;
    // One that fits into a message, and one that does not.
    for (name, mebibytes) in [("short", 9), ("long", 61)] {
        let (args, started, go) = held(&place, name, mebibytes);
        let ids = client.submit(HELD, &[args]).await;
        until("it runs", async || started.exists()).await;
        bucket.set_away(true);
        let before = bucket.connections();
        std::fs::write(go, "").expect("written");
        if mebibytes == 61 {
            until("it was tried", async || bucket.connections() > before).await;
            bucket.set_away(false);
        }
        let value = client.values(&ids).await.remove(0);
        bucket.set_away(false);
        assert_eq!(value.iter().filter(|&&byte| byte == b'z').count(), (mebibytes as usize) << 20);
        assert_eq!(place.has_result_of_worker(ids[0]), mebibytes == 61);
    }
    worker.leave().await;
    dispatcher.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_that_a_worker_cannot_have_are_told() {
    let place = Place::bucket();
    let bucket = place.bucket.as_ref().expect("a bucket");
    let dispatcher = place.dispatcher(DeliveryMode::Push).await;
    let config = || Worker::config(DeliveryMode::Push, 1, dispatcher.address);
    // It says that it is the dispatcher's, and has nothing of it.
    let files = bucket.directory().join("values");
    std::fs::create_dir(files.join("empty")).expect("made");
    std::fs::copy(files.join("deployment/owner"), files.join("empty/owner")).expect("copied");
    let worker = Worker::of(sharing(config(), open(below(bucket, "empty"))));
    let mut client = Client::new(&place.redis).await;
    let short = client.submit(GROW, &["((b'',), {})".to_owned()]).await;
    client.results(&short).await;
    let long = client.submit(GROW, &[LONG.to_owned()]).await;
    let result = client.results(&long).await.remove(0);
    let told = support::read(&result.result);
    assert_eq!(result.status, TaskStatus::Failed, "{told}");
    assert!(told.contains("a value that the arguments refer to cannot be read"), "{told}");
    assert!(told.contains("the bucket `s3://values/empty`"), "{told}");
    worker.leave().await;
    let worker = Worker::of(sharing(config(), place.shared()));
    let again = client.submit(GROW, &[LONG.to_owned()]).await;
    client.values(&again).await;
    worker.leave().await;
    dispatcher.leave().await;
}
