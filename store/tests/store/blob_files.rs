//! What becomes of the files of large values.

use std::time::{Duration, SystemTime};

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::task::TaskStatus;
use belljar_store::record::{NewTask, Settled};
use belljar_store::{BLOB_BYTES, Store, StoreConfig, StoreError};
use bytes::Bytes;

use crate::beside::{Beside, files_in, sweep};
use crate::harness::{NOBODY, audit, claim_one, completed, demand, submit_one, task, tasks};

fn blob(fill: u8) -> Bytes {
    Bytes::from(vec![fill; BLOB_BYTES + 1])
}

async fn submit(store: &Store, fill: u8) -> TaskId {
    let task = NewTask { args: blob(fill), ..task() };
    store.submit(vec![task]).await.expect("accepted")[0]
}

#[tokio::test]
async fn files_are_kept_as_long_as_a_key_refers_to_them() {
    let beside = Beside::start().await;
    let (store, other) = (beside.store().await, beside.store().await);
    let id = submit(&store, 1).await;
    assert_eq!(beside.names(), [format!("args-{id}")]);
    let reference: Vec<u8> =
        beside.redis.command(&["GET", &format!("{{belljar}}:args:{id}")]).await;
    assert!(reference.len() < 256, "the bytes are not in Redis");
    assert_eq!(sweep(&other).await, 0, "it waits");
    let claimed = claim_one(&store, DispatcherId::random()).await;
    assert_eq!((sweep(&other).await, claimed.invocation.args.len()), (0, BLOB_BYTES + 1));
    let end = completed(claimed.task(), &blob(2));
    assert_eq!(store.complete(NOBODY, 0, &[end]).await.expect("answered"), [Settled::Accepted]);
    assert_eq!(beside.names(), [format!("result-1-{id}")], "the arguments go with the end");
    assert_eq!(sweep(&other).await, 0, "the result is published");
    let part = other.result_part(id, 10, 20).await.expect("read").expect("a part");
    assert_eq!(part, blob(2).slice(10..30));
    beside.redis.command::<()>(&["DEL", &format!("{{belljar}}:result:{id}")]).await;
    assert_eq!(sweep(&other).await, 1, "it has expired");
    assert_eq!(beside.names(), [""; 0]);
    assert_eq!(other.result_part(id, 0, 1).await.expect("read"), None);
    audit(&store).await;
}

#[tokio::test]
async fn what_another_process_ended_and_what_was_cancelled_is_swept() {
    let beside = Beside::start().await;
    let (store, other) = (beside.store().await, beside.store().await);
    let ended = submit(&store, 1).await;
    let claimed = claim_one(&store, DispatcherId::random()).await;
    let end = completed(claimed.task(), b"\x80\x04N.");
    assert_eq!(other.complete(NOBODY, 0, &[end]).await.expect("answered"), [Settled::Accepted]);
    let cancelled = submit(&store, 2).await;
    store.cancel(cancelled).await.expect("cancelled");
    let kept = submit(&store, 3).await;
    assert_eq!(beside.names().len(), 3, "{ended} {cancelled}");
    assert_eq!(sweep(&other).await, 2);
    assert_eq!(beside.names(), [format!("args-{kept}")]);
}

#[tokio::test]
async fn young_files_are_left_alone() {
    let beside = Beside::start().await;
    let config = beside.config(Duration::from_secs(60));
    let store = Store::connect(config).await.expect("the server is fit");
    let id = submit(&store, 1).await;
    // As of a gateway that is about to write the key.
    beside.redis.command::<()>(&["DEL", &format!("{{belljar}}:args:{id}")]).await;
    assert_eq!(sweep(&store).await, 0);
    assert_eq!(sweep(&beside.store().await).await, 1);
}

#[tokio::test]
async fn a_call_whose_arguments_are_lost_fails_and_others_run() {
    let beside = Beside::start().await;
    let store = beside.store().await;
    let (lost, cut, whole) =
        (submit(&store, 1).await, submit(&store, 2).await, submit(&store, 3).await);
    std::fs::remove_file(beside.path_of(&format!("args-{lost}"))).expect("removed");
    std::fs::write(beside.path_of(&format!("args-{cut}")), b"part").expect("cut");
    let mut claimed = Vec::new();
    while claimed.is_empty() {
        claimed = store.claim(DispatcherId::random(), &demand(3)).await.expect("claimed");
    }
    assert_eq!(claimed.iter().map(|task| task.id()).collect::<Vec<_>>(), [whole]);
    for id in [lost, cut] {
        let record = store.task(id).await.expect("read").expect("known");
        let outcome = record.outcome.expect("it has ended");
        let message = &outcome.verdict.failure().expect("it failed").message;
        assert!(message.contains(&format!("the arguments of task {id}")), "{message}");
    }
    audit(&store).await;
}

#[tokio::test]
async fn a_result_that_is_lost_is_named() {
    let beside = Beside::start().await;
    let store = beside.store().await;
    let id = submit_one(&store).await;
    let claimed = claim_one(&store, DispatcherId::random()).await;
    store.complete(NOBODY, 0, &[completed(claimed.task(), &blob(1))]).await.expect("answered");
    let without = beside.redis.store().await;
    let error = without.results(&[id]).await.expect_err("it has no directory").to_string();
    assert!(error.contains(&id.to_string()), "{error}");
    std::fs::remove_file(beside.path_of("result-")).expect("removed");
    let error = store.results(&[id]).await.expect_err("it is lost");
    assert!(matches!(&error, StoreError::Corrupt { what, .. } if what.contains(&id.to_string())));
    assert!(store.result_part(id, 0, 1).await.is_err());
    // Others can be asked for without it.
    assert_eq!(store.task(id).await.expect("read").expect("known").status, TaskStatus::Completed);
}

#[tokio::test]
async fn a_directory_that_takes_nothing_costs_the_calls_in_question() {
    let beside = Beside::start().await;
    let store = beside.store().await;
    let id = submit_one(&store).await;
    for shard in 0..16 {
        let shard = beside.directory.path().join(format!("{shard:x}"));
        std::fs::remove_dir(&shard).expect("removed");
        std::fs::write(&shard, b"no directory").expect("written");
    }
    let refused = store.submit(vec![NewTask { args: blob(1), ..task() }]).await;
    assert!(matches!(refused, Err(StoreError::UnwrittenBlob(_))), "{refused:?}");
    let claimed = claim_one(&store, DispatcherId::random()).await;
    // What has ended is in Redis then.
    let end = completed(claimed.task(), &blob(2));
    assert_eq!(store.complete(NOBODY, 0, &[end]).await.expect("answered"), [Settled::Accepted]);
    let result = store.results(&[id]).await.expect("read")[0].clone().expect("known");
    assert_eq!(result.result, blob(2));
    assert_eq!(audit(&store).await.counts.accepted, 1);
}

#[tokio::test]
async fn nothing_dangles_while_submissions_are_repeated_and_files_are_swept() {
    let beside = Beside::start().await;
    let config = beside.config(Duration::from_secs(600));
    let [store, sweeper] = [config.clone(), config].map(Store::connect);
    let (store, sweeper) = (store.await.expect("fit"), sweeper.await.expect("fit"));
    let batch: Vec<_> = tasks(8).into_iter().map(|it| NewTask { args: blob(1), ..it }).collect();
    let submitting = async {
        for _ in 0..20 {
            // Each is cut off at some point, as by a client that leaves, and then done again.
            for task in &batch {
                let submit = store.submit(vec![task.clone()]);
                let _ = tokio::time::timeout(Duration::from_micros(300), submit).await;
            }
            // What is there by now has been there for long.
            for path in files_in(beside.directory.path()) {
                let long_ago = SystemTime::now() - Duration::from_secs(3600);
                // It may be swept at this moment.
                let _ = std::fs::File::open(path).and_then(|file| file.set_modified(long_ago));
            }
        }
        store.submit(batch.clone()).await.expect("accepted");
    };
    let sweeping = async {
        loop {
            sweep(&sweeper).await;
        }
    };
    tokio::select! {
        () = submitting => {}
        () = sweeping => {}
    }
    let claimed = store.claim(DispatcherId::random(), &demand(20)).await.expect("claimed");
    assert_eq!(claimed.len(), batch.len());
    assert!(claimed.iter().all(|task| task.invocation.args == blob(1)));
    audit(&store).await;
}

#[tokio::test]
async fn a_directory_is_of_one_deployment() {
    let beside = Beside::start().await;
    let store = beside.store().await;
    let id = submit(&store, 1).await;
    let other = StoreConfig { prefix: "other".to_owned(), ..beside.config(Duration::ZERO) };
    let refused = Store::connect(other).await.map(drop).expect_err("it would remove the files");
    assert!(matches!(refused, StoreError::BlobsOfAnother { .. }), "{refused:?}");
    let message = refused.to_string();
    for part in ["prefix `other`", "--blobs", beside.directory.path().to_str().expect("UTF-8")] {
        assert!(message.contains(part), "{message}");
    }
    let again = beside.store().await;
    assert_eq!(sweep(&again).await, 0);
    assert_eq!(beside.names(), [format!("args-{id}")]);
}

#[tokio::test]
async fn a_full_server_and_a_used_directory_let_its_processes_start_again() {
    let beside = Beside::start().await;
    let store = beside.store().await;
    let id = submit(&store, 1).await;
    drop(store);
    let owner = beside.path_of("owner");
    let written = std::fs::metadata(&owner).expect("there").modified().expect("a time");
    beside.redis.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let again = beside.store().await;
    assert_eq!(claim_one(&again, DispatcherId::random()).await.id(), id);
    let after = std::fs::metadata(&owner).expect("there").modified().expect("a time");
    assert_eq!(after, written, "nothing is written where it is known whose it is");
}
