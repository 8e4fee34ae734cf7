//! Arguments and results that stay out of scripts, in Redis, in files and in a bucket.

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, ResultKind};
use belljar_core::task::{CodeHash, TaskStatus};
use belljar_store::record::{Idempotency, NewTask, Settled};
use belljar_store::{BLOB_BYTES, BlobConfig, Store, StoreConfig, StoreError};
use belljar_testkit::Bucket;
use bytes::Bytes;

use crate::beside::in_bucket;
use crate::harness::{
    NOBODY, Redis, audit, claim, claim_one, completed, demand, died, finished, native, submit_one,
    task, unstarted,
};

/// Where the bytes are.
enum Place {
    Redis,
    Files(tempfile::TempDir),
    Bucket(Bucket),
}

impl Place {
    fn config(&self, redis: &Redis) -> StoreConfig {
        let blobs = match self {
            Self::Redis => None,
            Self::Files(directory) => Some(BlobConfig::new(directory.path().join("blobs"))),
            Self::Bucket(bucket) => Some(in_bucket(bucket)),
        };
        StoreConfig { blobs, ..redis.config() }
    }

    async fn store(&self, redis: &Redis) -> Store {
        Store::connect(self.config(redis)).await.expect("the server is fit")
    }
}

/// Declares each test for all places.
macro_rules! in_all_places {
    ($($test:ident,)*) => {
        mod in_redis {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Place::Redis).await;
            })*
        }

        mod in_files {
            $(#[tokio::test]
            async fn $test() {
                let directory = tempfile::tempdir().expect("a directory");
                super::$test(super::Place::Files(directory)).await;
            })*
        }

        mod in_a_bucket {
            $(#[tokio::test]
            async fn $test() {
                let bucket = belljar_testkit::Bucket::start().expect("a bucket");
                super::$test(super::Place::Bucket(bucket)).await;
            })*
        }
    };
}

in_all_places! {
    blobs_come_back_and_leave_nothing,
    a_result_blob_expires_with_its_task,
    stale_and_cancelled_attempts_publish_no_blob,
    argument_blobs_outlive_returned_delayed_and_cancelled_attempts,
    refused_and_repeated_submissions_leave_no_blob,
    a_result_blob_is_accepted_when_memory_is_full,
    result_blobs_are_read_as_long_as_there_is_room,
    a_result_is_read_in_parts,
    every_result_is_stored_with_its_kind,
}

fn blob(fill: u8) -> Bytes {
    Bytes::from(vec![fill; BLOB_BYTES + 1])
}

fn with(args: Bytes) -> NewTask {
    NewTask { args, ..task() }
}

async fn submit(store: &Store, task: NewTask) -> TaskId {
    store.submit(vec![task]).await.expect("accepted")[0]
}

/// What stands apart now, and whether it would go away by itself.
async fn apart(redis: &Redis) -> Vec<(String, bool)> {
    let mut keys: Vec<String> = redis.command(&["KEYS", "{belljar}:args:*"]).await;
    keys.extend(redis.command::<Vec<String>>(&["KEYS", "{belljar}:result:*"]).await);
    let mut found = Vec::new();
    for key in keys {
        let expires = redis.command::<i64>(&["TTL", &key]).await >= 0;
        found.push((key, expires));
    }
    found
}

async fn blobs_come_back_and_leave_nothing(place: Place) {
    let redis = Redis::start().await;
    let store = place.store(&redis).await;
    let dispatcher = DispatcherId::random();
    let batch = vec![with(blob(1)), task(), with(blob(2)), with(vec![3; BLOB_BYTES].into())];
    let sent: Vec<_> = batch.iter().map(|task| (task.id, task.args.clone())).collect();
    store.submit(batch).await.expect("accepted");
    let kept: Vec<_> =
        [0, 2].map(|n: usize| (format!("{{belljar}}:args:{}", sent[n].0), false)).into();
    let mut found = apart(&redis).await;
    found.sort_by_key(|(key, _)| kept.iter().position(|(known, _)| known == key));
    assert_eq!(found, kept, "they must not expire while their tasks wait");

    let claimed = claim(&store, dispatcher, 10).await;
    let got: Vec<_> =
        claimed.iter().map(|task| (task.id(), task.invocation.args.clone())).collect();
    assert_eq!(got, sent);
    for (task, value) in claimed.iter().zip([blob(4), blob(5), Bytes::new(), blob(6)]) {
        let ends = [completed(task.task(), &value)];
        for _ in 0..2 {
            let settled = store.complete(NOBODY, 0, &ends).await.expect("answered");
            assert_eq!(settled, [Settled::Accepted], "also where the first answer was lost");
        }
        let result = store.results(&[task.id()]).await.expect("read")[0].clone().expect("known");
        assert_eq!((result.status, result.result), (TaskStatus::Completed, value.clone()));
        let record = store.task(task.id()).await.expect("read").expect("known");
        assert_eq!(record.result_bytes, value.len() as u64);
    }
    let left = apart(&redis).await;
    assert!(left.iter().all(|(key, expires)| *expires && key.contains(":result:")), "{left:?}");
    let published = left.iter().filter(|(key, _)| key.matches(':').count() == 2).count();
    assert_eq!(published, 3, "{left:?}");
    assert_eq!(audit(&store).await.counts.completed, 4);
}

async fn a_result_blob_expires_with_its_task(place: Place) {
    let redis = Redis::start().await;
    let store = place.store(&redis).await;
    let id = submit(&store, with(blob(1))).await;
    let claimed = claim_one(&store, DispatcherId::random()).await;
    let failure = Failure {
        exception: blob(2),
        ..Failure::by_platform(FailureKind::Exception, "blob".to_owned())
    };
    let end = finished(claimed.task(), CallVerdict::Failed(failure));
    store.complete(NOBODY, 0, &[end]).await.expect("answered");
    let result = store.results(&[id]).await.expect("read")[0].clone().expect("known");
    assert_eq!((result.status, result.result), (TaskStatus::Failed, blob(2)));
    assert_eq!(result.failure, Some(FailureKind::Exception));
    let [record, value] = [format!("{{belljar}}:task:{id}"), format!("{{belljar}}:result:{id}")];
    let expires: i64 = redis.command(&["PEXPIRETIME", &record]).await;
    assert_eq!(redis.command::<i64>(&["PEXPIRETIME", &value]).await, expires);

    redis.command::<()>(&["DEL", &value]).await;
    assert_eq!(store.results(&[id]).await.expect("read"), [None], "what is left is no answer");
}

async fn stale_and_cancelled_attempts_publish_no_blob(place: Place) {
    let redis = Redis::start().await;
    let store = place.store(&redis).await;
    let dispatcher = DispatcherId::random();
    let id = submit(&store, with(blob(1))).await;
    let first = claim_one(&store, dispatcher).await;
    store.requeue(&[died(first.task(), "gone")]).await.expect("answered");
    let second = claim_one(&store, dispatcher).await;
    assert_eq!(second.invocation.args, blob(1), "each attempt has them");
    let late = completed(first.task(), &blob(2));
    assert_eq!(store.complete(NOBODY, 0, &[late]).await.expect("answered"), [Settled::Stale]);
    let right = completed(second.task(), &blob(3));
    assert_eq!(store.complete(NOBODY, 0, &[right]).await.expect("answered"), [Settled::Accepted]);
    let other = completed(second.task(), &Bytes::from(vec![4; BLOB_BYTES + 2]));
    assert_eq!(store.complete(NOBODY, 0, &[other]).await.expect("answered"), [Settled::Stale]);
    let result = store.results(&[id]).await.expect("read")[0].clone().expect("known");
    assert_eq!(result.result, blob(3));

    let id = submit(&store, with(blob(1))).await;
    let claimed = claim_one(&store, dispatcher).await;
    store.cancel(id).await.expect("answered");
    let end = completed(claimed.task(), &blob(5));
    assert_eq!(store.complete(NOBODY, 0, &[end]).await.expect("answered"), [Settled::Cancelled]);
    let result = store.results(&[id]).await.expect("read")[0].clone().expect("known");
    assert_eq!((result.status, result.result), (TaskStatus::Cancelled, Bytes::new()));
    let left = apart(&redis).await;
    assert!(left.iter().all(|(_, expires)| *expires), "{left:?}");
    audit(&store).await;
}

async fn argument_blobs_outlive_returned_delayed_and_cancelled_attempts(place: Place) {
    let redis = Redis::start().await;
    let store = place.store(&redis).await;
    let [lost, judge] = [DispatcherId::random(), DispatcherId::random()];
    let id = submit(&store, NewTask { delay_ms: 1, ..with(blob(1)) }).await;
    let first = loop {
        if let [task] = &store.claim(lost, &demand(1)).await.expect("claimed")[..] {
            break task.clone();
        }
    };
    store.requeue(&[unstarted(first.task())]).await.expect("answered");
    assert_eq!(claim_one(&store, lost).await.invocation.args, blob(1));
    store.heartbeat(judge, &[native()], &[]).await.expect("a heartbeat");
    redis.age(lost, judge).await;
    assert_eq!(store.heartbeat(judge, &[native()], &[]).await.expect("a heartbeat").recovered, 1);
    let third = claim_one(&store, judge).await;
    assert_eq!(third.invocation.args, blob(1));
    store.requeue(&[unstarted(third.task())]).await.expect("answered");
    store.cancel(id).await.expect("answered");
    assert_eq!(apart(&redis).await, [], "a cancelled task needs none");
    audit(&store).await;
}

async fn refused_and_repeated_submissions_leave_no_blob(place: Place) {
    let redis = Redis::start().await;
    let config = StoreConfig { max_queued: 1, ..place.config(&redis) };
    let store = Store::connect(config).await.expect("fit");
    let keyed = |fill| {
        let body = CodeHash::of(&[fill]);
        NewTask { idempotency: Some(Idempotency { key: "key".into(), body }), ..with(blob(fill)) }
    };
    let first = keyed(1);
    let id = submit(&store, first.clone()).await;
    let kept = [(format!("{{belljar}}:args:{id}"), false)];
    assert_eq!(submit(&store, first).await, id, "the same again: its answer was lost");
    assert_eq!(apart(&redis).await, kept);
    assert_eq!(submit(&store, keyed(1)).await, id);
    assert_eq!(apart(&redis).await, kept);
    let refused = store.submit(vec![keyed(2)]).await;
    assert!(matches!(refused, Err(StoreError::IdempotencyConflict { .. })), "{refused:?}");
    let refused = store.submit(vec![with(blob(3))]).await;
    assert!(matches!(refused, Err(StoreError::QueueFull { .. })), "{refused:?}");
    assert_eq!(apart(&redis).await, kept);
    assert_eq!(claim_one(&store, DispatcherId::random()).await.invocation.args, blob(1));
}

async fn a_result_blob_is_accepted_when_memory_is_full(place: Place) {
    let redis = Redis::start().await;
    let store = place.store(&redis).await;
    let id = submit(&store, with(blob(1))).await;
    let claimed = claim_one(&store, DispatcherId::random()).await;
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = store.submit(vec![with(blob(2))]).await;
    assert!(matches!(refused, Err(StoreError::RefusesWrites(..))), "{refused:?}");
    let end = completed(claimed.task(), &blob(3));
    assert_eq!(store.complete(NOBODY, 0, &[end]).await.expect("answered"), [Settled::Accepted]);
    let result = store.results(&[id]).await.expect("read")[0].clone().expect("known");
    assert_eq!(result.result, blob(3));
}

async fn result_blobs_are_read_as_long_as_there_is_room(place: Place) {
    let redis = Redis::start().await;
    let store = place.store(&redis).await;
    let ids = store.submit((0..4).map(|_| task()).collect()).await.expect("accepted");
    let claimed = store.claim(DispatcherId::random(), &demand(4)).await.expect("claimed");
    for (n, task) in claimed.iter().enumerate() {
        let value = if n == 1 { Bytes::from_static(b"short") } else { blob(7) };
        let end = completed(task.task(), &value);
        store.complete(NOBODY, 0, &[end]).await.expect("answered");
    }
    const BLOB: u64 = BLOB_BYTES as u64 + 1;
    for (room, read) in
        [(0, 0), (BLOB - 1, 0), (BLOB, 1), (2 * BLOB - 1, 1), (2 * BLOB, 2), (u64::MAX, 3)]
    {
        let results = store.results_within(&ids, room).await.expect("read");
        let results: Vec<_> = results.into_iter().map(|result| result.expect("known")).collect();
        let lengths: Vec<_> = results.iter().map(|result| result.result.len()).collect();
        let whole = |n| if n < read { BLOB_BYTES + 1 } else { 0 };
        assert_eq!(lengths, [whole(0), 5, whole(1), whole(2)], "room for {room}");
        for result in results {
            assert_eq!(result.unread_bytes, if result.result.is_empty() { BLOB } else { 0 });
            assert!(result.status == TaskStatus::Completed && result.expires_at.is_some());
        }
    }
}

async fn a_result_is_read_in_parts(place: Place) {
    let redis = Redis::start().await;
    let store = place.store(&redis).await;
    let id = submit_one(&store).await;
    let claimed = claim_one(&store, DispatcherId::random()).await;
    let value: Bytes = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    store.complete(NOBODY, 0, &[completed(claimed.task(), &value)]).await.expect("answered");
    for (start, length) in [(0, 1), (0, 70_000), (399_999, 1), (399_000, 70_000)] {
        let part = store.result_part(id, start, length).await.expect("read").expect("a part");
        let end = value.len().min((start + length) as usize);
        assert_eq!(part, value.slice(start as usize..end), "{length} from {start}");
    }
    assert_eq!(store.result_part(id, 400_000, 1).await.expect("read"), None, "behind its end");
    redis.command::<()>(&["FLUSHALL"]).await;
    assert_eq!(store.result_part(id, 0, 1).await.expect("read"), None, "forgotten");
}

async fn every_result_is_stored_with_its_kind(place: Place) {
    let redis = Redis::start().await;
    let store = place.store(&redis).await;
    let objects = |name: &str, padding: usize| {
        let padding = vec![b'N'; padding];
        [b"\x80\x04](", &padding[..], b"cos\n", name.as_bytes(), b"\ne."].concat()
    };
    let named = |name: &str| {
        let (globals, unreadable) = (vec![format!("os.{name}")], None);
        ResultKind::Objects { globals, unreadable }
    };
    let data = [b"\x80\x04](", &vec![b'N'; BLOB_BYTES][..], b"e."].concat();
    for (value, kind) in [
        (b"\x80\x04N.".to_vec(), ResultKind::Data),
        (data, ResultKind::Data),
        (objects("system", 0), named("system")),
        (objects("popen", BLOB_BYTES), named("popen")),
    ] {
        let id = submit_one(&store).await;
        let claimed = claim_one(&store, DispatcherId::random()).await;
        store.complete(NOBODY, 0, &[completed(claimed.task(), &value)]).await.expect("answered");
        for room in [0, u64::MAX] {
            let result = store.results_within(&[id], room).await.expect("read")[0].clone();
            assert_eq!(result.expect("known").kind, Some(kind.clone()));
        }
        assert_eq!(store.task(id).await.expect("read").expect("known").kind, Some(kind));
    }
    let id = submit_one(&store).await;
    store.cancel(id).await.expect("cancelled");
    assert_eq!(store.task(id).await.expect("read").expect("known").kind, None);
}
