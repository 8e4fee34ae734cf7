//! Large values in a bucket: how long objects are kept, and what an outage costs.

use std::sync::Arc;
use std::time::Duration;

use belljar_core::args::{ArgsPiece, ValueRef, list};
use belljar_core::id::{BlobId, DispatcherId};
use belljar_core::outcome::{CallVerdict, ResultKind};
use belljar_core::sha256::Sha256Hash;
use belljar_core::shared_blobs::BlobBucket as _;
use belljar_core::task::{Attempt, TaskAttempt, TaskStatus};
use belljar_core::tenant::Tenant;
use belljar_store::record::{NewTask, Settled};
use belljar_store::value_ref::ValueState;
use belljar_store::{
    BLOB_BYTES, BlobConfig, BlobPlace, NamedArgs, SharedBucket, Store, StoreConfig, StoreError,
    UploadEnd, UploadedValue,
};
use belljar_testkit::Bucket;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use crate::beside::{files_in, in_bucket, objects, sweep};
use crate::harness::{NOBODY, Redis, audit, claim_one, completed, eventually, submit_one, task};

struct InBucket {
    redis: Redis,
    bucket: Bucket,
}

impl InBucket {
    async fn start() -> Self {
        Self { redis: Redis::start().await, bucket: Bucket::start().expect("a bucket") }
    }

    fn config(&self) -> StoreConfig {
        StoreConfig { blobs: Some(in_bucket(&self.bucket)), ..self.redis.config() }
    }

    fn worker(&self) -> SharedBucket {
        let BlobPlace::Bucket(place) = in_bucket(&self.bucket).place else { unreachable!() };
        SharedBucket::open(*place).expect("opened")
    }

    async fn store(&self) -> Store {
        Store::connect(self.config()).await.expect("the server is fit")
    }
}

fn blob(fill: u8) -> Bytes {
    Bytes::from(vec![fill; BLOB_BYTES + 1])
}

async fn keep(store: &Store, value: Bytes) -> UploadedValue {
    let upload = store.new_upload(None).await.expect("begun");
    let upload = store.write_upload(upload, value).await.expect("written");
    kept(store.of(&Tenant::default()).keep_upload(upload, None).await)
}

fn kept(end: Result<UploadEnd, StoreError>) -> UploadedValue {
    match end.expect("answered") {
        UploadEnd::Kept(value) => value,
        UploadEnd::Differs(hash) => panic!("{hash:?}"),
    }
}

async fn content(store: &Store, value: &UploadedValue, start: u64) -> Vec<u8> {
    let mut content = Vec::new();
    let mut reader = store.read_upload(value, start).await.expect("there");
    reader.read_to_end(&mut content).await.expect("read");
    content
}

/// Submits a task that gets a value as its arguments.
async fn refer(store: &Store, value: ValueRef) -> Result<NewTask, StoreError> {
    let state = store.of(&Tenant::default()).value(value).await.expect("read");
    let ValueState::Found(found) = state else { panic!("{state:?}") };
    let (piece, held) = found.piece(value, 0);
    let task = NewTask { args: list(&[piece]), ..task() };
    store.hold(held.into_iter().map(|held| (task.id, held)).collect()).await.map(|()| task)
}

#[tokio::test]
async fn objects_are_kept_as_long_as_a_key_refers_to_them() {
    let service = InBucket::start().await;
    let (store, other) = (service.store().await, service.store().await);
    let submitted = NewTask { args: blob(1), ..task() };
    let id = store.submit(vec![submitted.clone()]).await.expect("accepted")[0];
    // A client that has lost the answer.
    store.submit(vec![submitted]).await.expect("accepted");
    assert_eq!(objects(&service.bucket), [format!("args-{id}"), format!("args-{id}")]);
    assert_eq!(sweep(&other).await, 1, "nobody knows of the second one");
    let claimed = claim_one(&store, DispatcherId::random()).await;
    assert_eq!(claimed.invocation.args, blob(1));
    let end = completed(claimed.task(), &blob(2));
    assert_eq!(store.complete(NOBODY, 0, &[end]).await.expect("answered"), [Settled::Accepted]);
    assert_eq!(sweep(&other).await, 1, "the arguments of what has ended");
    assert_eq!(objects(&service.bucket), [format!("result-1-{id}")]);
    let part = other.result_part(id, 10, 20).await.expect("read").expect("a part");
    assert_eq!(part, blob(2).slice(10..30));
    service.redis.command::<()>(&["DEL", &format!("{{belljar}}:result:{id}")]).await;
    assert_eq!(sweep(&other).await, 1, "it has expired");
    assert_eq!(objects(&service.bucket), [""; 0]);
    audit(&store).await;
}

#[tokio::test]
async fn what_has_just_lost_its_key_stays_for_a_while() {
    let service = InBucket::start().await;
    let young = BlobConfig { grace: Duration::from_secs(60), ..in_bucket(&service.bucket) };
    let config = StoreConfig { blobs: Some(young), ..service.config() };
    let store = Store::connect(config).await.expect("the server is fit");
    let id = store.submit(vec![NewTask { args: blob(1), ..task() }]).await.expect("accepted")[0];
    service.redis.command::<()>(&["DEL", &format!("{{belljar}}:args:{id}")]).await;
    assert_eq!((sweep(&store).await, sweep(&store).await), (0, 0));
    assert_eq!(sweep(&service.store().await).await, 1);
}

#[tokio::test]
async fn a_value_is_kept_for_the_tasks_that_refer_to_it() {
    let service = InBucket::start().await;
    let (store, other) = (service.store().await, service.store().await);
    let tenant = Tenant::default();
    // More than one part of it.
    let bytes: Vec<u8> = (0..12_u32 << 20).map(|n| (n / 7 % 251) as u8).collect();
    let value = keep(&store, bytes.clone().into()).await;
    let again = keep(&other, bytes.clone().into()).await;
    assert_eq!((again.id, again.sha256), (value.id, value.sha256));
    assert_eq!(objects(&service.bucket), [format!("upload-{}", value.id)]);
    assert_eq!(value.sha256, Sha256Hash(Sha256::digest(&bytes).into()));
    assert!(content(&other, &value, 0).await == bytes);
    assert!(content(&other, &value, 11 << 20).await == bytes[11 << 20..]);

    let waiting = refer(&store, ValueRef::Upload(value.id)).await.expect("held");
    store.submit(vec![waiting.clone()]).await.expect("accepted");
    assert!(store.of(&tenant).drop_upload(value.id).await.expect("answered").is_some());
    assert_eq!(sweep(&other).await, 0, "a task needs it");
    let claimed = claim_one(&store, DispatcherId::random()).await;
    assert!(claimed.invocation.args == bytes);
    store.complete(NOBODY, 0, &[completed(claimed.task(), b"\x80\x04N.")]).await.expect("answered");
    assert_eq!(sweep(&other).await, 1, "it goes with the end");
    assert_eq!(objects(&service.bucket), [""; 0]);
    let left: Vec<String> = service.redis.command(&["KEYS", "*holders*"]).await;
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn results_are_values_too() {
    let service = InBucket::start().await;
    let store = service.store().await;
    let first = submit_one(&store).await;
    let claimed = claim_one(&store, DispatcherId::random()).await;
    store.complete(NOBODY, 0, &[completed(claimed.task(), &blob(3))]).await.expect("answered");
    let waiting = refer(&store, ValueRef::Result(first)).await.expect("held");
    store.submit(vec![waiting]).await.expect("accepted");
    service.redis.command::<()>(&["DEL", &format!("{{belljar}}:result:{first}")]).await;
    assert_eq!(sweep(&store).await, 0, "a task needs it");
    assert_eq!(claim_one(&store, DispatcherId::random()).await.invocation.args, blob(3));
}

#[tokio::test]
async fn a_value_that_was_forgotten_meanwhile_is_not_held() {
    let service = InBucket::start().await;
    let store = service.store().await;
    let tenant = Tenant::default();
    let value = keep(&store, blob(1)).await;
    let state = store.of(&tenant).value(ValueRef::Upload(value.id)).await.expect("read");
    let ValueState::Found(found) = state else { panic!("{state:?}") };
    let (_, held) = found.piece(ValueRef::Upload(value.id), 0);
    store.of(&tenant).drop_upload(value.id).await.expect("answered");
    // The same value again is another object.
    keep(&store, blob(1)).await;
    let holds = held.into_iter().map(|held| (task().id, held)).collect();
    assert!(matches!(store.hold(holds).await, Err(StoreError::UnknownValue(_))));
}

#[tokio::test]
async fn a_value_comes_in_pieces_to_any_gateway() {
    let service = InBucket::start().await;
    let stores = [service.store().await, service.store().await];
    let tenant = Tenant::default();
    let bytes: Bytes = (0..7_u32 << 20).map(|n| (n % 253) as u8).collect::<Vec<_>>().into();
    let hash = Sha256Hash(Sha256::digest(&bytes).into());
    let id = BlobId::derived(tenant.mark(), &hash.0);
    let cuts = [0, 100, 6 << 20, bytes.len()];
    for (place, range) in cuts.windows(2).enumerate() {
        let store = &stores[place % 2];
        assert_eq!(store.uploaded_bytes(id).await.expect("asked"), range[0] as u64);
        let begin = async || store.resume_upload(id).await.expect("begun").expect("free");
        let (upload, late) = (begin().await, begin().await);
        let piece = bytes.slice(range[0]..range[1]);
        let upload = store.write_upload(upload, piece.clone()).await.expect("written");
        if range[1] < bytes.len() {
            assert!(store.leave_upload(upload).await.expect("left"));
            // Another gateway had the same piece.
            let late = store.write_upload(late, piece).await.expect("written");
            assert!(!store.leave_upload(late).await.expect("left"));
            continue;
        }
        let value = kept(store.of(&tenant).keep_upload(upload, Some(hash)).await);
        assert_eq!((value.id, value.bytes, value.sha256), (id, bytes.len() as u64, hash));
        assert!(content(store, &value, 0).await == bytes);
    }
    assert_eq!(objects(&service.bucket), [format!("upload-{id}")]);
    assert_eq!(sweep(&stores[0]).await, 0);
    // What has come of another, of which no more comes.
    let other = BlobId::derived("", &[7; 32]);
    let upload = stores[0].resume_upload(other).await.expect("begun").expect("free");
    let upload = stores[0].write_upload(upload, blob(1)).await.expect("written");
    assert!(stores[0].leave_upload(upload).await.expect("left"));
    assert_eq!(sweep(&stores[1]).await, 0);
    service.redis.command::<()>(&["DEL", &format!("{{belljar}}:pieces:{other}")]).await;
    assert_eq!(sweep(&stores[1]).await, 1);
}

#[tokio::test]
async fn what_has_another_hash_leaves_nothing() {
    let service = InBucket::start().await;
    let store = service.store().await;
    let tenant = Tenant::default();
    let said = Sha256Hash([7; 32]);
    let id = BlobId::derived(tenant.mark(), &said.0);
    for upload in [
        store.new_upload(None).await.expect("begun"),
        store.resume_upload(id).await.expect("begun").expect("free"),
    ] {
        let upload = store.write_upload(upload, blob(1)).await.expect("written");
        let end = store.of(&tenant).keep_upload(upload, Some(said)).await.expect("answered");
        assert!(matches!(end, UploadEnd::Differs(_)));
    }
    assert_eq!(objects(&service.bucket), [""; 0]);
    assert_eq!(store.uploaded_bytes(id).await.expect("asked"), 0);
}

#[tokio::test]
async fn an_outage_costs_the_calls_in_question() {
    let service = InBucket::start().await;
    let store = service.store().await;
    let with_args = NewTask { args: blob(1), ..task() };
    let claimed_of = submit_one(&store).await;
    let claimed = claim_one(&store, DispatcherId::random()).await;
    store.submit(vec![with_args]).await.expect("accepted");
    store.check_blobs().await.expect("it answers");
    let upload = store.new_upload(None).await.expect("begun");
    let upload = store.write_upload(upload, blob(1)).await.expect("gathered");
    service.bucket.set_away(true);
    assert!(matches!(store.check_blobs().await, Err(StoreError::BucketAway { .. })));
    let refused = store.submit(vec![NewTask { args: blob(2), ..task() }]).await;
    let Err(error @ StoreError::BucketAway { .. }) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains(&service.bucket.url()), "{error}");
    assert_eq!(error.code(), "bucket_unreachable");
    let refused = store.of(&Tenant::default()).keep_upload(upload, None).await;
    assert!(matches!(refused, Err(StoreError::BucketAway { .. })));
    assert!(store.sweep_blobs().await.is_err());
    // What has ended is in Redis then, and what is small was never elsewhere.
    let ends = [completed(claimed.task(), &blob(4))];
    assert_eq!(store.complete(NOBODY, 0, &ends).await.expect("answered"), [Settled::Accepted]);
    let result = store.results(&[claimed_of]).await.expect("read")[0].clone().expect("known");
    assert_eq!(result.result, blob(4));
    submit_one(&store).await;
    // Processes start, and do what they can.
    let other = service.store().await;
    assert_eq!(other.results(&[claimed_of]).await.expect("read").len(), 1);
    service.bucket.set_away(false);
    eventually("the bucket answers", async || other.check_blobs().await.ok()).await;
    assert_eq!(sweep(&other).await, 0, "what is there is needed");
    audit(&store).await;
}

#[tokio::test]
async fn a_bucket_belongs_to_one_deployment() {
    let service = InBucket::start().await;
    let _first = service.store().await;
    let config = StoreConfig { prefix: "other".to_owned(), ..service.config() };
    let refused = Store::connect(config).await.map(drop).expect_err("it is another's");
    assert!(matches!(refused, StoreError::BlobsOfAnother { .. }), "{refused:?}");
    assert!(refused.to_string().contains(&service.bucket.url()), "{refused}");
}

#[tokio::test]
async fn what_a_worker_has_written_is_published_or_collected() {
    let service = InBucket::start().await;
    let (store, worker) = (service.store().await, service.worker());
    let pickle = [&b"\x80\x04B"[..], &(12_u32 << 20).to_le_bytes(), &[7; 12 << 20], b"."].concat();
    let file = || {
        let mut file = worker.new_file().expect("made");
        std::io::Write::write_all(&mut file, &pickle).expect("written");
        Arc::new(file)
    };
    let bytes = pickle.len() as u64;
    let (id, lost) = (submit_one(&store).await, submit_one(&store).await);
    for (name, is_sent) in [(id, true), (lost, false)] {
        let task = claim_one(&store, DispatcherId::random()).await.task();
        assert_eq!(task.task_id, name);
        if is_sent {
            worker.send(task, file(), bytes).await.expect("sent");
            // A worker that is killed then leaves this until the task has ended.
            let before = TaskAttempt { attempt: Attempt(task.attempt.0 + 1), ..task };
            worker.send(before, file(), bytes).await.expect("sent");
            assert_eq!(sweep(&store).await, 0, "its task has not ended");
        }
        let mut end = completed(task, b"");
        end.report.outcome.verdict = CallVerdict::CompletedInFile(bytes);
        assert_eq!(store.complete(NOBODY, 0, &[end]).await.expect("answered"), [Settled::Accepted]);
    }
    let part = store.result_part(id, 5, 20).await.expect("read").expect("a part");
    assert_eq!(part, pickle[5..25]);
    let task = store.task(id).await.expect("read").expect("known");
    assert_eq!((task.status, task.kind), (TaskStatus::Completed, Some(ResultKind::Data)));
    let result = store.results(&[lost]).await.expect("read").pop().flatten().expect("ended");
    let told = String::from_utf8_lossy(&result.result);
    assert!(result.status == TaskStatus::Failed && told.contains("no such object"), "{told}");
    assert_eq!(sweep(&store).await, 1, "that of the attempt of which nobody has told");
    assert_eq!(objects(&service.bucket), [format!("result-1-{id}")]);
    audit(&store).await;
}

#[tokio::test]
async fn a_worker_reads_what_was_written() {
    let service = InBucket::start().await;
    let config = StoreConfig { named_args_from: Some(NamedArgs::from(0)), ..service.config() };
    let store = Store::connect(config).await.expect("the server is fit");
    let worker = service.worker();
    let long = Bytes::from(vec![1; 3 << 20]);
    for (args, is_named) in [(long.clone(), true), (blob(2), false)] {
        store.submit(vec![NewTask { args: args.clone(), ..task() }]).await.expect("accepted");
        let claimed = claim_one(&store, DispatcherId::random()).await;
        let found = &claimed.invocation.args;
        assert_eq!(belljar_core::args::is_list(found), is_named);
        if is_named {
            let pieces = belljar_core::args::pieces(found).expect("a list");
            let [ArgsPiece::File(object, bytes)] = &pieces[..] else { panic!("{pieces:?}") };
            let object = object.to_str().expect("a name");
            let file = worker.fetch(object, *bytes).await.expect("read");
            let mut read = vec![0; args.len()];
            std::os::unix::fs::FileExt::read_exact_at(&*file, &mut read, 0).expect("read");
            assert!(read == args);
            assert!(worker.fetch(object, 5).await.is_err(), "it has another length");
            // The same length, and another content.
            let files = files_in(&service.bucket.directory().join("values"));
            let path = files.iter().find(|path| path.ends_with(object)).expect("its file");
            std::fs::write(path, vec![9; args.len()]).expect("written");
            let error = worker.fetch(object, *bytes).await.expect_err("changed");
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
        }
        let end = completed(claimed.task(), b"\x80\x04N.");
        store.complete(NOBODY, 0, &[end]).await.expect("answered");
    }
    sweep(&store).await;
    assert_eq!(objects(&service.bucket), [""; 0]);
}

#[tokio::test]
async fn a_value_that_several_calls_need_comes_once() {
    let service = InBucket::start().await;
    let (store, worker) = (service.store().await, service.worker());
    let value = keep(&store, vec![4; 6 << 20].into()).await;
    let waiting = refer(&store, ValueRef::Upload(value.id)).await.expect("held");
    let pieces = belljar_core::args::pieces(&waiting.args).expect("a list");
    let [ArgsPiece::File(object, bytes)] = &pieces[..] else { panic!("{pieces:?}") };
    let object = object.to_str().expect("a name");
    let (first, same) = tokio::join!(worker.fetch(object, *bytes), worker.fetch(object, *bytes));
    let first = first.expect("read");
    assert!(Arc::ptr_eq(&first, &same.expect("read")));
    service.bucket.set_away(true);
    assert!(Arc::ptr_eq(&first, &worker.fetch(object, *bytes).await.expect("kept")));
    let told = service.worker().fetch(object, *bytes).await.expect_err("away").to_string();
    assert!(told.starts_with("the bucket `s3://values/deployment`: "), "{told}");
}
