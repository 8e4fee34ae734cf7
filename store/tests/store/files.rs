//! The files that calls leave.

use belljar_core::files::{CallFile, FileEntry};
use belljar_core::id::DispatcherId;
use belljar_core::outcome::{CallVerdict, FailureKind};
use belljar_core::task::{Attempt, TaskAttempt, TaskStatus};
use belljar_core::tenant::Tenant;
use belljar_store::record::{Completion, PeriodQuotas, Settled, StoreQuotas};
use bytes::Bytes;

use crate::harness::{NOBODY, Redis, claim_one, completed, submit_one, task, unstarted};

fn leaving(task: TaskAttempt, files: &[(&str, &'static [u8])]) -> Completion {
    let mut completion = completed(task, b"\x80\x04N.");
    let file = |&(name, bytes): &(&str, &'static [u8])| CallFile {
        name: name.to_owned(),
        bytes: Bytes::from_static(bytes),
    };
    completion.report.outcome.files = files.iter().map(file).collect();
    completion
}

async fn keys(redis: &Redis) -> Vec<String> {
    redis.command(&["KEYS", "{belljar}:file:*"]).await
}

#[tokio::test]
async fn files_come_back_and_expire_with_their_task() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let id = submit_one(&store).await;
    let task = claim_one(&store, DispatcherId::random()).await.task();
    let ends = [leaving(task, &[("a", b"first"), ("b/c", b"second")])];
    for _ in 0..2 {
        let settled = store.complete(NOBODY, 0, &ends).await.expect("answered");
        assert_eq!(settled, [Settled::Accepted], "also where the first answer was lost");
    }
    let record = store.task(id).await.expect("read").expect("known");
    let entry = |name: &str, bytes| FileEntry { name: name.to_owned(), bytes };
    assert_eq!(record.files, [entry("a", 5), entry("b/c", 6)]);
    assert!(record.outcome.expect("ended").files.is_empty(), "their content stands apart");
    let read = async |index, start, length| {
        store.file_part(task, index, start, length).await.expect("read")
    };
    assert_eq!(read(0, 0, 100).await.as_deref(), Some(&b"first"[..]));
    assert_eq!(read(1, 2, 3).await.as_deref(), Some(&b"con"[..]));
    assert_eq!(read(2, 0, 1).await, None);
    for key in keys(&redis).await {
        let [file, task] = [key, format!("{{belljar}}:task:{id}")];
        let ttl = async |key: &str| redis.command::<i64>(&["PTTL", key]).await;
        assert!(ttl(&file).await >= ttl(&task).await && ttl(&task).await > 0, "{file}");
    }
}

#[tokio::test]
async fn a_late_attempt_changes_no_file() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let id = submit_one(&store).await;
    let dispatcher = DispatcherId::random();
    let first = claim_one(&store, dispatcher).await.task();
    store.requeue(&[unstarted(first)]).await.expect("requeued");
    let second = claim_one(&store, dispatcher).await.task();
    assert_eq!(second.attempt, Attempt(2));
    let ends = |task, content| [leaving(task, &[("a", content)])];
    let settled = store.complete(NOBODY, 0, &ends(second, b"right")).await.expect("answered");
    assert_eq!(settled, [Settled::Accepted]);
    let settled = store.complete(NOBODY, 0, &ends(first, b"wrong")).await.expect("answered");
    assert_eq!(settled, [Settled::Stale]);
    let record = store.task(id).await.expect("read").expect("known");
    let task = TaskAttempt { task_id: id, attempt: Attempt(record.attempts) };
    let content = store.file_part(task, 0, 0, 10).await.expect("read");
    assert_eq!(content.as_deref(), Some(&b"right"[..]));
}

#[tokio::test]
async fn a_full_server_costs_the_files_and_says_so() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let id = submit_one(&store).await;
    let task = claim_one(&store, DispatcherId::random()).await.task();
    redis.command::<String>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let settled = store.complete(NOBODY, 0, &[leaving(task, &[("a", b"x")])]).await;
    assert_eq!(settled.expect("answered"), [Settled::Accepted]);
    let record = store.task(id).await.expect("read").expect("known");
    assert_eq!((record.status, record.files.len()), (TaskStatus::Failed, 0));
    let Some(CallVerdict::Failed(failure)) = record.outcome.map(|outcome| outcome.verdict) else {
        panic!("it has not failed");
    };
    assert_eq!(failure.kind, FailureKind::Limit);
    assert!(failure.message.contains("the memory of Redis is full"), "{}", failure.message);
    assert!(keys(&redis).await.is_empty());
}

#[tokio::test]
async fn a_tenant_has_the_bytes_of_its_files() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let whose: Tenant = "acme".parse().expect("a name");
    let none = PeriodQuotas { cpu_us: None, memory_mb_ms: None };
    let quotas = StoreQuotas {
        functions: None,
        sessions: None,
        stored_bytes: Some(1 << 20),
        queued_tasks: None,
        running_tasks: None,
        hour: none,
        day: none,
    };
    let counted = store.of(&whose).with_quotas(Some(quotas));
    counted.submit(vec![task(), task()]).await.expect("accepted");
    let dispatcher = DispatcherId::random();
    let bytes = async || store.of(&whose).usage().await.expect("read").stored_bytes;
    let before = bytes().await;
    let mut kept = Vec::new();
    for files in [&[][..], &[("a", &[7; 3000][..])]] {
        let task = claim_one(&store, dispatcher).await.task();
        store.complete(NOBODY, 0, &[leaving(task, files)]).await.expect("answered");
        kept.push(bytes().await);
    }
    // An ended task takes less than one that waits.
    assert!(kept[0] < before && kept[1] > kept[0] + 2500, "{before} {kept:?}");
}
