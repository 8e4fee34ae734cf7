//! Large values between a dispatcher and workers that share its directory, and those that do not.

use std::path::Path;
use std::sync::Arc;

use belljar_core::grants::GrantPolicy;
use belljar_core::limits::{MAX_SENT_ARGS_BYTES, SHARED_ARGS_BYTES};
use belljar_core::message::{DeliveryMode, RejectReason};
use belljar_core::task::{PythonVersion, TaskStatus};
use belljar_dispatcher::RemoteConfig;
use belljar_worker::ChildCommand;
use belljar_worker::config::PoolConfig;
use belljar_worker::executor::NativeExecutor;
use belljar_worker::transport::{WorkerConfig, WorkerError};

use crate::harness::{Client, Dispatcher, Redis, Worker};
use crate::{refused, support};

const GROW: &str = "def f(x): return x + b'y' * (9 << 20)";
/// In a message or in a file.
const LONG: &str = "((b'x' * (2 << 20),), {})";
/// More than goes by a message.
const TOO_LONG: &str = "((b'x' * (61 << 20),), {})";

/// A worker with this directory, by which it passes what is long.
fn sharing(config: WorkerConfig, blobs: &Path) -> WorkerConfig {
    let blobs: Option<Arc<Path>> = Some(blobs.into());
    let command = ChildCommand { blobs: blobs.clone(), ..support::command() };
    let executor = NativeExecutor::new(PythonVersion::default(), command, GrantPolicy::default());
    WorkerConfig { blobs, pool: PoolConfig::new(1, vec![Arc::new(executor)]), ..config }
}

async fn passes_values(mode: DeliveryMode) {
    let redis = Redis::start_with_blobs();
    let owner = redis.store().await.blob_owner().expect("read");
    let dispatcher = Dispatcher::start_with(&redis, 0, |listen| RemoteConfig {
        blobs: owner.clone(),
        named_args: Some(redis.named_args.clone()),
        ..RemoteConfig::new(listen, mode, None)
    });
    let dispatcher = dispatcher.await;
    let config = || Worker::config(mode, 1, dispatcher.address);
    let mut client = Client::new(&redis).await;

    let other = redis.file("other");
    std::fs::create_dir(&other).expect("made");
    std::fs::write(other.join("owner"), "another").expect("written");
    let error = refused(Worker::of(sharing(config(), &other))).await;
    let is_theirs = matches!(error, WorkerError::Refused { reason: RejectReason::Blobs, .. });
    assert!(is_theirs, "{error}");

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

    let worker = Worker::of(sharing(config(), &redis.file("blobs")));
    let ids = client.submit(GROW, &short).await;
    client.results(&ids).await;
    assert_eq!(redis.named_args.get(), SHARED_ARGS_BYTES, "all that are there share it");
    let ids = client.submit(GROW, &[LONG.to_owned(), "((b'',), {})".to_owned()]).await;
    for (value, length) in client.values(&ids).await.iter().zip([11 << 20, 9 << 20]) {
        let text = support::read(value);
        assert!(text.len() == length + 3 && text.ends_with("yyy'"), "{}", text.len());
        assert_eq!(text.starts_with("b'xxx"), length == 11 << 20);
    }
    worker.leave().await;
    dispatcher.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_worker_shares_the_directory() {
    passes_values(DeliveryMode::Push).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_worker_shares_the_directory() {
    passes_values(DeliveryMode::Pull).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_for_those_who_both_have_it() {
    let redis = Redis::start_with_blobs();
    redis.store().await;
    let dispatcher = Dispatcher::start(&redis, DeliveryMode::Push).await;
    let config = Worker::config(DeliveryMode::Push, 1, dispatcher.address);
    let error = refused(Worker::of(sharing(config, &redis.file("blobs")))).await.to_string();
    assert!(error.contains("the dispatcher has none") && error.contains("--blobs"), "{error}");
    dispatcher.leave().await;
}
