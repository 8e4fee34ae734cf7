//! Results that a worker has written to their files itself.

use belljar_core::id::DispatcherId;
use belljar_core::outcome::{CallVerdict, ResultKind};
use belljar_core::result_file;
use belljar_core::task::{TaskAttempt, TaskStatus};
use belljar_store::record::Settled;

use crate::beside::{Beside, sweep};
use crate::harness::{NOBODY, audit, claim_one, completed, finished, submit_one, unstarted};

/// A pickle of bytes, and one that names a function.
const DATA: &[u8] = b"\x80\x04C\x03abc.";
const OBJECTS: &[u8] = b"cos\nsystem\n.";

fn written(beside: &Beside, task: TaskAttempt, pickle: &[u8]) -> CallVerdict {
    std::fs::write(beside.directory.path().join(result_file::path(task)), pickle).expect("written");
    CallVerdict::CompletedInFile(pickle.len() as u64)
}

#[tokio::test]
async fn they_are_published_where_they_are() {
    let beside = Beside::start().await;
    let store = beside.store().await;
    let named = ResultKind::Objects { globals: vec!["os.system".into()], unreadable: None };
    for (pickle, kind) in [(DATA, ResultKind::Data), (OBJECTS, named)] {
        let id = submit_one(&store).await;
        let task = claim_one(&store, DispatcherId::random()).await.task();
        let ends = [finished(task, written(&beside, task, pickle))];
        assert_eq!(sweep(&store).await, 0, "its task runs");
        for _ in 0..2 {
            let settled = store.complete(NOBODY, 0, &ends).await.expect("answered");
            assert_eq!(settled, [Settled::Accepted], "also where the first answer was lost");
        }
        assert_eq!(sweep(&store).await, 0, "it is published");
        let record = store.task(id).await.expect("read").expect("known");
        assert_eq!(record.status, TaskStatus::Completed);
        assert_eq!((record.result_bytes, record.kind), (pickle.len() as u64, Some(kind)));
        let result = store.results(&[id]).await.expect("read")[0].clone().expect("known");
        assert_eq!(result.result, pickle);
        // The key that the repeated end has made again is gone soon.
        for key in [format!("{{belljar}}:result:{id}"), format!("{{belljar}}:result:{id}:1")] {
            beside.redis.command::<()>(&["DEL", &key]).await;
        }
        assert_eq!(sweep(&store).await, 1, "it has expired");
    }
    audit(&store).await;
}

#[tokio::test]
async fn those_of_attempts_that_do_not_count_are_removed() {
    let beside = Beside::start().await;
    let store = beside.store().await;
    let id = submit_one(&store).await;
    let dispatcher = DispatcherId::random();
    let first = claim_one(&store, dispatcher).await.task();
    let late = finished(first, written(&beside, first, DATA));
    store.requeue(&[unstarted(first)]).await.expect("requeued");
    assert_eq!(store.complete(NOBODY, 0, &[late]).await.expect("answered"), [Settled::Stale]);
    let second = claim_one(&store, dispatcher).await.task();
    let end = completed(second, b"\x80\x04N.");
    assert_eq!(store.complete(NOBODY, 0, &[end]).await.expect("answered"), [Settled::Accepted]);
    let unpublished = format!("{{belljar}}:result:{id}:{}", first.attempt);
    let reference: Vec<u8> = beside.redis.command(&["GET", &unpublished]).await;
    assert!(reference.starts_with(b"file:"), "it expires soon");
    beside.redis.command::<()>(&["DEL", &unpublished]).await;
    assert_eq!(sweep(&store).await, 1);
    assert_eq!(beside.names(), [""; 0]);
    audit(&store).await;
}

#[tokio::test]
async fn one_that_is_not_whole_fails_its_call_alone() {
    let beside = Beside::start().await;
    let store = beside.store().await;
    let cut = CallVerdict::CompletedInFile(DATA.len() as u64 + 1);
    for (is_written, said) in [(true, "were written"), (false, "No such file")] {
        let id = submit_one(&store).await;
        let task = claim_one(&store, DispatcherId::random()).await.task();
        if is_written {
            written(&beside, task, DATA);
        }
        let other = submit_one(&store).await;
        let others = claim_one(&store, DispatcherId::random()).await.task();
        let ends = [finished(task, cut.clone()), completed(others, b"\x80\x04N.")];
        let settled = store.complete(NOBODY, 0, &ends).await.expect("answered");
        assert_eq!(settled, [Settled::Accepted; 2]);
        let record = store.task(id).await.expect("read").expect("known");
        let outcome = record.outcome.expect("it has ended");
        let message = &outcome.verdict.failure().expect("it failed").message;
        assert!(message.contains("is lost") && message.contains(said), "{message}");
        let record = store.task(other).await.expect("read").expect("known");
        assert_eq!(record.status, TaskStatus::Completed);
    }
    audit(&store).await;
}

#[tokio::test]
async fn without_a_directory_there_is_none() {
    let beside = Beside::start().await;
    let without = beside.redis.store().await;
    let id = submit_one(&without).await;
    let task = claim_one(&without, DispatcherId::random()).await.task();
    let end = finished(task, CallVerdict::CompletedInFile(4));
    assert_eq!(without.complete(NOBODY, 0, &[end]).await.expect("answered"), [Settled::Accepted]);
    let record = without.task(id).await.expect("read").expect("known");
    let outcome = record.outcome.expect("it has ended");
    let message = &outcome.verdict.failure().expect("it failed").message;
    assert!(message.contains("--blobs"), "{message}");
}
