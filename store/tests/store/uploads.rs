//! Values that are uploaded: how long their files are kept, and for whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use belljar_core::args::{ArgsPiece, ValueRef, list};
use belljar_core::id::{BlobId, DispatcherId};
use belljar_core::sha256::Sha256Hash;
use belljar_core::tenant::Tenant;
use belljar_store::record::{NewTask, StoreQuotas};
use belljar_store::value_ref::ValueState;
use belljar_store::{NamedArgs, Store, StoreConfig, StoreError, UploadEnd, UploadedValue};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::beside::{Beside, sweep};
use crate::harness::{NOBODY, audit, claim_one, completed, task};

const VALUE: &[u8] = b"\x80\x04\x8c\x07a value.";

/// A store whose values are kept for so long.
async fn store_for(beside: &Beside, result_ttl: Duration) -> Store {
    let config = StoreConfig { result_ttl, ..beside.config(Duration::ZERO) };
    Store::connect(config).await.expect("the server is fit")
}

async fn upload(store: &Store, tenant: &Tenant, value: &'static [u8]) -> UploadedValue {
    let upload = store.new_upload(None).await.expect("a file");
    let upload = store.write_upload(upload, Bytes::from_static(value)).await.expect("written");
    match store.of(tenant).keep_upload(upload, None).await.expect("answered") {
        UploadEnd::Kept(value) => value,
        UploadEnd::Differs(hash) => panic!("{hash:?}"),
    }
}

/// Submits a task of the default tenant that gets a value as its arguments.
async fn refer(store: &Store, value: ValueRef) -> NewTask {
    let tenant = Tenant::default();
    let state = store.of(&tenant).value(value).await.expect("read");
    let ValueState::Found(found) = state else { panic!("{state:?}") };
    let (piece, held) = found.piece(value, 0);
    let task = NewTask { args: list(&[piece]), ..task() };
    let holds = held.into_iter().map(|held| (task.id, held)).collect();
    store.hold(holds).await.expect("held");
    task
}

#[tokio::test]
async fn a_value_is_kept_for_the_tasks_that_refer_to_it() {
    let beside = Beside::start().await;
    let (store, other) = (beside.store().await, beside.store().await);
    let tenant = Tenant::default();
    let value = upload(&store, &tenant, VALUE).await;
    assert_eq!(value, upload(&other, &tenant, VALUE).await, "the same value");
    assert_eq!(beside.names(), [format!("upload-{}", value.id)]);
    assert_eq!(sweep(&other).await, 0, "its key is there");
    let waiting = refer(&store, ValueRef::Upload(value.id)).await;
    store.submit(vec![waiting.clone()]).await.expect("accepted");
    let refused = refer(&store, ValueRef::Upload(value.id)).await;
    assert_eq!(beside.names().len(), 3);
    assert_eq!(sweep(&other).await, 1, "no task needs the name of the one that was not accepted");
    assert!(store.of(&tenant).drop_upload(value.id).await.expect("answered").is_some());
    assert_eq!(sweep(&other).await, 1, "the value is forgotten");
    assert_eq!(beside.names(), [format!("held-0-{}", waiting.id)], "not {}", refused.id);
    let unknown = store.of(&tenant).value(ValueRef::Upload(value.id)).await.expect("read");
    assert!(matches!(unknown, ValueState::Unknown));
    let claimed = claim_one(&store, DispatcherId::random()).await;
    assert_eq!(claimed.invocation.args, VALUE);
    store.complete(NOBODY, 0, &[completed(claimed.task(), VALUE)]).await.expect("answered");
    assert_eq!(sweep(&other).await, 1, "it goes with the end");
    assert_eq!(beside.names(), [""; 0]);
    audit(&store).await;
}

#[tokio::test]
async fn results_are_values_too() {
    let beside = Beside::start().await;
    let store = beside.store().await;
    for result in [Bytes::from_static(VALUE), Bytes::from(vec![7; 100_000])] {
        let first = task();
        store.submit(vec![first.clone()]).await.expect("accepted");
        let of = async || store.of(&Tenant::default()).value(ValueRef::Result(first.id)).await;
        assert!(matches!(of().await.expect("read"), ValueState::NoResult(_)));
        let claimed = claim_one(&store, DispatcherId::random()).await;
        store.complete(NOBODY, 0, &[completed(claimed.task(), &result)]).await.expect("answered");
        let other: Tenant = "acme".parse().expect("a name");
        let foreign = store.of(&other).value(ValueRef::Result(first.id)).await.expect("read");
        assert!(matches!(foreign, ValueState::Unknown));
        let next = refer(&store, ValueRef::Result(first.id)).await;
        store.submit(vec![next]).await.expect("accepted");
        // The first may be forgotten meanwhile.
        for key in ["task", "result"] {
            let key = format!("{{belljar}}:{key}:{}", first.id);
            beside.redis.command::<()>(&["DEL", &key]).await;
        }
        sweep(&store).await;
        let claimed = claim_one(&store, DispatcherId::random()).await;
        assert_eq!(claimed.invocation.args, result);
        store.complete(NOBODY, 0, &[completed(claimed.task(), VALUE)]).await.expect("answered");
    }
    sweep(&store).await;
    assert_eq!(beside.names(), [""; 0]);
}

#[tokio::test]
async fn a_task_whose_value_is_lost_fails_and_says_so() {
    let beside = Beside::start().await;
    let store = beside.store().await;
    let value = upload(&store, &Tenant::default(), VALUE).await;
    let lost = refer(&store, ValueRef::Upload(value.id)).await;
    store.submit(vec![lost.clone(), task()]).await.expect("accepted");
    std::fs::remove_file(beside.path_of("held-")).expect("removed");
    let claimed = claim_one(&store, DispatcherId::random()).await;
    assert_ne!(claimed.id(), lost.id);
    let record = store.task(lost.id).await.expect("read").expect("known");
    let outcome = record.outcome.expect("it has ended");
    let message = &outcome.verdict.failure().expect("it failed").message;
    assert!(message.contains("a value that the arguments of task"), "{message}");
}

#[tokio::test]
async fn slots_that_share_the_directory_get_names_of_files() {
    let beside = Beside::start().await;
    let store = beside.store().await;
    let local =
        StoreConfig { named_args_from: Some(NamedArgs::from(0)), ..beside.config(Duration::ZERO) };
    let local = Store::connect(local).await.expect("the server is fit");
    let value = upload(&store, &Tenant::default(), VALUE).await;
    let referring = refer(&store, ValueRef::Upload(value.id)).await;
    let large = NewTask { args: Bytes::from(vec![7; 100_000]), ..task() };
    store.submit(vec![referring.clone()]).await.expect("accepted");
    store.submit(vec![large.clone()]).await.expect("accepted");
    for (id, name, content) in [
        (referring.id, format!("held-0-{}", referring.id), VALUE.to_vec()),
        (large.id, format!("args-{}", large.id), vec![7; 100_000]),
    ] {
        let claimed = claim_one(&local, DispatcherId::random()).await;
        assert_eq!(claimed.id(), id);
        let pieces = belljar_core::args::pieces(&claimed.invocation.args).expect("a list");
        let [ArgsPiece::File(path, bytes)] = &*pieces else { panic!("{pieces:?}") };
        assert!(path.ends_with(name), "{}", path.display());
        let path = beside.directory.path().join(path);
        assert_eq!(std::fs::read(path).expect("there"), content);
        assert_eq!(*bytes, content.len() as u64);
        local.complete(NOBODY, 0, &[completed(claimed.task(), VALUE)]).await.expect("answered");
    }
    assert_eq!(sweep(&store).await, 1, "what the task held that has ended");
    assert_eq!(beside.names(), [format!("upload-{}", value.id)]);
}

/// Workers come and go while tasks are claimed, with the directory and without.
#[tokio::test]
async fn arguments_are_named_or_there_whatever_changes_meanwhile() {
    const TASKS: usize = 150;
    let beside = Beside::start().await;
    let named = NamedArgs::from(0);
    let config =
        StoreConfig { named_args_from: Some(named.clone()), ..beside.config(Duration::ZERO) };
    let store = Store::connect(config).await.expect("the server is fit");
    let args = Bytes::from(vec![7; 100_000]);
    for _ in 0..TASKS {
        store.submit(vec![NewTask { args: args.clone(), ..task() }]).await.expect("accepted");
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let changing = std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            while !is_over.load(Ordering::Relaxed) {
                [0, u64::MAX].into_iter().for_each(|from| named.set(from));
            }
        }
    });
    let mut ways = [0, 0];
    for _ in 0..TASKS {
        let claimed = claim_one(&store, DispatcherId::random()).await;
        let is_named = belljar_core::args::is_list(&claimed.invocation.args);
        ways[usize::from(is_named)] += 1;
        assert!(is_named || claimed.invocation.args == args);
    }
    is_over.store(true, Ordering::Relaxed);
    changing.join().expect("ends");
    assert!(ways.iter().all(|way| *way > 0), "{ways:?}");
}

#[tokio::test]
async fn what_no_message_has_room_for_is_told() {
    let beside = Beside::start().await;
    let store = beside.store().await;
    let large = NewTask { args: list(&[ArgsPiece::Held(0, 1 << 30)]), ..task() };
    store.submit(vec![large.clone(), task()]).await.expect("accepted");
    claim_one(&store, DispatcherId::random()).await;
    let record = store.task(large.id).await.expect("read").expect("known");
    let outcome = record.outcome.expect("it has ended");
    let message = &outcome.verdict.failure().expect("it failed").message;
    assert!(
        message.contains("1073741824 bytes") && message.contains("shares the directory"),
        "{message}"
    );
}

#[tokio::test]
async fn values_expire_and_are_counted_until_then() {
    let beside = Beside::start().await;
    let store = store_for(&beside, Duration::from_secs(2)).await;
    let tenant: Tenant = "acme".parse().expect("a name");
    let used = async || store.of(&tenant).usage().await.expect("read").stored_bytes;
    let value = upload(&store, &tenant, VALUE).await;
    upload(&store, &tenant, VALUE).await;
    assert_eq!(used().await, VALUE.len() as u64, "once");
    let quotas = StoreQuotas { stored_bytes: Some(40), ..StoreQuotas::default() };
    let within = store.of(&tenant).with_quotas(Some(quotas));
    let hash = Sha256Hash(Sha256::digest(b"another").into());
    let id = BlobId::derived(tenant.mark(), &hash.0);
    assert!(within.reserve_upload(id, 20).await.expect("there is room").is_none());
    assert!(within.reserve_upload(id, 20).await.expect("counted once").is_none());
    assert_eq!(used().await, VALUE.len() as u64 + 20, "what is on its way counts");
    let over = within.reserve_upload(id, 40).await.expect_err("too much");
    assert!(matches!(over, StoreError::OverQuota(_)), "{over}");
    assert_eq!(used().await, VALUE.len() as u64);
    crate::harness::eventually("it expires", async || {
        store.of(&tenant).uploaded(value.id).await.expect("read").is_none().then_some(())
    })
    .await;
    assert_eq!((sweep(&store).await, used().await), (1, 0));
    upload(&store, &tenant, VALUE).await;
    store.of(&tenant).drop_upload(value.id).await.expect("answered").expect("known");
    assert_eq!(used().await, 0);
    assert!(store.of(&tenant).drop_upload(value.id).await.expect("answered").is_none());
}

#[tokio::test]
async fn what_came_of_an_upload_stays_for_a_while() {
    let beside = Beside::start().await;
    let store = beside.store().await;
    let tenant = Tenant::default();
    let hash = Sha256Hash(Sha256::digest(VALUE).into());
    let id = BlobId::derived(tenant.mark(), &hash.0);
    let upload = store.resume_upload(id).await.expect("a file").expect("nobody has it");
    let upload =
        store.write_upload(upload, Bytes::from_static(&VALUE[..5])).await.expect("written");
    assert!(store.resume_upload(id).await.expect("asked").is_none(), "one at a time");
    drop(upload);
    sweep(&store).await;
    let again = beside.store().await;
    assert_eq!(again.uploaded_bytes(id).await.expect("read"), 5);
    let upload = again.resume_upload(id).await.expect("a file").expect("nobody has it");
    let upload =
        again.write_upload(upload, Bytes::from_static(&VALUE[5..])).await.expect("written");
    let kept = again.of(&tenant).keep_upload(upload, Some(hash)).await.expect("answered");
    assert!(matches!(kept, UploadEnd::Kept(value) if value.id == id));
    // One that nobody goes on with.
    let other = BlobId::random();
    drop(store.resume_upload(other).await.expect("a file"));
    let part = beside.path_of("part-");
    let file = std::fs::File::options().write(true).open(part).expect("opened");
    let old = SystemTime::now() - Duration::from_secs(4_000);
    file.set_modified(old).expect("set");
    sweep(&store).await;
    assert_eq!(beside.names(), [format!("upload-{id}")]);
}
