//! Tasks that replicas must have before they count as accepted.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_store::{Store, StoreConfig, StoreError};
use belljar_testkit::Redis;
use futures_util::future::join_all;

use crate::harness::{audit, eventually, submit_one, task, tasks};

/// Short, since some replicas never answer here.
const PATIENCE: Duration = Duration::from_millis(100);

async fn confirming(url: String, replica_timeout: Duration) -> Store {
    let config = StoreConfig::new(url);
    let config = StoreConfig { replicas: 1, replica_timeout, ..config };
    Store::connect(config).await.expect("the server is fit")
}

fn tell(redis: &Redis, command: &str) {
    assert_eq!(redis.tell(command).expect("answered"), "+OK\r\n", "{command}");
}

#[tokio::test]
async fn what_replicas_have_not_is_unconfirmed_until_they_have_it() {
    let primary = Redis::start().expect("redis-server is installed");
    let replica = primary.replica(&[]).expect("a replica");
    submit_one(&confirming(primary.url(), Duration::from_secs(10)).await).await;
    let store = confirming(primary.url(), PATIENCE).await;
    tell(&replica, "REPLICAOF 127.0.0.1 1");
    let new = tasks(2);
    let told = store.submit(new.clone()).await.expect_err("no replica has them");
    assert!(matches!(told, StoreError::Unconfirmed { confirmed: 0, wanted: 1 }), "{told:?}");
    assert_eq!(audit(&store).await.counts.accepted, 3, "they are accepted all the same");
    let again = store.submit(new.clone()).await.expect_err("still no replica has them");
    assert!(matches!(again, StoreError::Unconfirmed { .. }), "{again:?}");
    let _other = primary.replica(&[]).expect("another replica");
    let ids: Vec<_> = new.iter().map(|task| task.id).collect();
    let again = async || store.submit(new.clone()).await.ok();
    assert_eq!(eventually("confirmed", again).await, ids);
    assert_eq!(audit(&store).await.counts.accepted, 3);
}

#[tokio::test]
async fn another_server_confirms_only_what_it_has() {
    let [old, new] = [(); 2].map(|()| Redis::start().expect("redis-server is installed"));
    let _replica = new.replica(&[]).expect("a replica");
    let place = tempfile::tempdir().expect("a directory");
    let socket = place.path().join("redis.sock");
    symlink(old.socket(), &socket).expect("made");
    let store = confirming(format!("redis+unix://{}", socket.display()), PATIENCE).await;
    // As after a failover: connections that are opened now lead elsewhere.
    std::fs::remove_file(&socket).expect("removed");
    symlink(new.socket(), &socket).expect("made");
    let told = store.submit(tasks(1)).await.expect_err("the new one never had it");
    assert!(matches!(told, StoreError::Unconfirmed { confirmed: 0, .. }), "{told:?}");
    assert_eq!(audit(&store).await.counts.accepted, 1, "the old one has it");
}

#[tokio::test]
async fn many_submissions_share_the_waiting() {
    const SUBMISSIONS: usize = 300;
    let primary = Redis::start().expect("redis-server is installed");
    let _replica = primary.replica(&[]).expect("a replica");
    let store = confirming(primary.url(), Duration::from_secs(2)).await;
    let all = join_all((0..SUBMISSIONS).map(|_| store.submit(tasks(1)))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let stats = primary.tell("INFO commandstats").expect("answered");
    let waits = stats.lines().find_map(|line| line.strip_prefix("cmdstat_wait:calls="));
    let waits: usize = waits.and_then(|line| line.split(',').next()?.parse().ok()).expect("some");
    assert!(waits * 3 < SUBMISSIONS, "{waits}");
}

/// Submits until a submission is not acknowledged; adds each that is to `acknowledged`.
async fn submit_all(store: Store, acknowledged: Arc<AtomicUsize>) -> Vec<TaskId> {
    let mut ids = Vec::new();
    while let Ok(accepted) = store.submit(vec![task()]).await {
        ids.extend(accepted);
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
    ids
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_with_a_primary_whose_replica_was_cut_off() {
    const CLIENTS: usize = 4;
    let mut primary = Redis::start().expect("redis-server is installed");
    let replica = primary.replica(&[]).expect("a replica");
    let timeout = Duration::from_secs(2);
    let plain = StoreConfig { timeout, ..StoreConfig::new(primary.url()) };
    let plain = Store::connect(plain).await.expect("the server is fit");
    let confirming = confirming(primary.url(), timeout).await;
    let counts = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let clients = |store: &Store, count: &Arc<AtomicUsize>| {
        let client = |_| tokio::spawn(submit_all(store.clone(), Arc::clone(count)));
        (0..CLIENTS).map(client).collect::<Vec<_>>()
    };
    let [plain, confirming] =
        [clients(&plain, &counts[0]), clients(&confirming, &counts[1])].map(join_all);
    let above = async |count: &AtomicUsize, least: usize| {
        eventually("submissions", async || (count.load(Ordering::SeqCst) > least).then_some(()))
            .await;
    };
    above(&counts[1], 100).await;
    tell(&replica, "REPLICAOF 127.0.0.1 1");
    let before = counts[0].load(Ordering::SeqCst);
    above(&counts[0], before + 100).await;
    let confirmed = confirming.await;
    primary.kill();
    let unconfirmed = plain.await;
    tell(&replica, "REPLICAOF NO ONE");
    let store = Store::connect(StoreConfig::new(replica.url())).await.expect("it took over");
    let lost = async |ids: Vec<Result<Vec<TaskId>, _>>| {
        let ids: Vec<_> = ids
            .into_iter()
            .flat_map(|ids: Result<_, tokio::task::JoinError>| ids.expect("ran"))
            .collect();
        let found = store.results(&ids).await.expect("read");
        (ids.len(), found.iter().filter(|found| found.is_none()).count())
    };
    let (acknowledged, gone) = lost(confirmed).await;
    assert!(acknowledged > 100 && gone == 0, "{gone} of {acknowledged}");
    let (acknowledged, gone) = lost(unconfirmed).await;
    assert!(gone >= 100, "without confirmations {gone} of {acknowledged}: the fault shows nothing");
}
