//! Functions and their code.

use belljar_core::id::FunctionId;
use belljar_core::task::{CodeHash, TaskLimits};
use belljar_core::tenant::Tenant;
use belljar_core::warm::WarmMode;
use belljar_store::record::{
    FunctionRecord, NewTask, OverQuota, StoreQuota, StoreQuotas, Timestamp,
};
use belljar_store::{REMOVED_CODE_TTL, Store, StoreError};
use bytes::Bytes;

use crate::harness::{Redis, native, task};

pub(crate) fn function(name: &str, code: &Bytes) -> FunctionRecord {
    FunctionRecord {
        id: FunctionId::random(),
        name: name.to_owned(),
        description: "doubles".to_owned(),
        class: native(),
        tenant: Tenant::default(),
        limits: TaskLimits::DEFAULT,
        grants: None,
        requirements: Vec::new(),
        packages: None,
        warm: WarmMode::Auto,
        code: CodeHash::of(code),
        code_bytes: code.len() as u64,
        registered_at: Timestamp(0),
        ttl_s: None,
    }
}

#[tokio::test]
async fn a_function_and_its_code_come_back() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let code = Bytes::from_static(b"\x80\x04code");
    let sent = function("double", &code);
    let kept = store.put_function(sent.clone(), code.clone()).await.expect("stored");
    assert!(kept.registered_at > Timestamp(0));
    assert_eq!(FunctionRecord { registered_at: Timestamp(0), ..kept.clone() }, sent);
    assert_eq!(store.function(sent.id).await.expect("read"), Some(kept.clone()));
    assert_eq!(store.code(sent.code).await.expect("read"), Some(code.clone()));
    assert_eq!(store.put_function(sent, code).await.expect("stored"), kept, "repeated");
    assert_eq!(store.function(FunctionId::random()).await.expect("read"), None);
    assert_eq!(store.code(CodeHash::of(b"other")).await.expect("read"), None);
}

#[tokio::test]
async fn equal_code_is_stored_once() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let code = Bytes::from_static(b"code");
    for name in ["one", "two"] {
        store.put_function(function(name, &code), code.clone()).await.expect("stored");
    }
    let keys: Vec<String> = redis.command(&["KEYS", "{belljar}:code:*"]).await;
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn functions_are_listed_newest_first_in_pages() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let code = Bytes::from_static(b"code");
    let mut expected = Vec::new();
    for n in 0..25 {
        let kept = store.put_function(function(&n.to_string(), &code), code.clone()).await;
        expected.insert(0, kept.expect("stored"));
    }
    let (mut listed, mut cursor) = (Vec::new(), None);
    loop {
        let page = store
            .of(&Tenant::default())
            .functions(None, cursor.as_deref(), 10)
            .await
            .expect("read");
        listed.extend(page.items.into_iter().map(|function| function.expect("readable")));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, expected);
}

fn tenant(name: &str) -> Tenant {
    name.parse().expect("a name")
}

/// Registers a function of a tenant that has quotas.
async fn put(
    store: &Store,
    whose: &Tenant,
    code: &Bytes,
    quotas: StoreQuotas,
) -> Result<FunctionRecord, StoreError> {
    let view = store.of(whose).with_quotas(Some(quotas));
    view.put_function(function("f", code), code.clone()).await
}

fn over(refused: Result<FunctionRecord, StoreError>) -> OverQuota {
    match refused.expect_err("over the quota") {
        StoreError::OverQuota(over) => over,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn functions_of_a_name_are_found_page_by_page() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let code = Bytes::from_static(b"code");
    let mut wanted = Vec::new();
    for n in 0..30 {
        let name = ["a", "b", "c"][n % 3];
        let kept = store.put_function(function(name, &code), code.clone()).await.expect("stored");
        if name == "b" {
            wanted.insert(0, kept);
        }
    }
    let default = Tenant::default();
    for limit in [1, 4, 10, 11] {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let view = store.of(&default);
            let page = view.functions(Some("b"), cursor.as_deref(), limit).await.expect("read");
            assert!(page.items.len() <= limit);
            found.extend(page.items.into_iter().map(|function| function.expect("readable")));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, wanted, "{limit}");
    }
    let none = store.of(&default).functions(Some("d"), None, 10).await.expect("read");
    assert!(none.items.is_empty() && none.next.is_none());
}

#[tokio::test]
async fn code_goes_with_the_last_function_that_has_it_and_after_the_tasks_that_wait() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (acme, other, code) = (tenant("acme"), tenant("other"), Bytes::from_static(b"code"));
    let none = StoreQuotas::default();
    let ours = put(&store, &acme, &code, none).await.expect("stored");
    let theirs = put(&store, &other, &code, none).await.expect("stored");
    let key = format!("{{belljar}}:code:{}", ours.code);
    let ttl = async || redis.command::<i64>(&["PTTL", &key]).await;
    assert!(!store.of(&other).remove_function(ours.id).await.expect("answered"), "not theirs");
    assert!(store.of(&acme).remove_function(ours.id).await.expect("answered"));
    assert_eq!(store.function(ours.id).await.expect("read"), None);
    let listed = store.of(&acme).functions(None, None, 10).await.expect("read");
    assert!(listed.items.is_empty());
    assert!(!store.of(&acme).remove_function(ours.id).await.expect("answered"), "twice");
    assert_eq!(ttl().await, -1, "another function has it");
    let hour = 3_600_000;
    let delayed = NewTask { delay_ms: hour, ..task() };
    store.submit(vec![delayed]).await.expect("accepted");
    assert!(store.of(&other).remove_function(theirs.id).await.expect("answered"));
    let kept = u64::try_from(ttl().await).expect("it expires");
    let expected = u64::try_from(REMOVED_CODE_TTL.as_millis()).expect("small") + hour;
    assert!((expected - 60_000..=expected + 1).contains(&kept), "{kept}");
    assert_eq!(store.code(ours.code).await.expect("read"), Some(code.clone()), "tasks wait");
    put(&store, &acme, &code, none).await.expect("stored");
    assert_eq!(ttl().await, -1, "it has a function again");
}

#[tokio::test]
async fn a_tenant_has_as_many_functions_as_it_may() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (acme, other, code) = (tenant("acme"), tenant("other"), Bytes::from_static(b"code"));
    let two = StoreQuotas { functions: Some(2), ..StoreQuotas::default() };
    let first = put(&store, &acme, &code, two).await.expect("the first");
    put(&store, &acme, &code, two).await.expect("the second");
    let refused = over(put(&store, &acme, &code, two).await);
    let quota = StoreQuota::Functions;
    assert_eq!(refused, OverQuota { quota, used: 2, limit: 2, frees_after: None });
    put(&store, &other, &code, two).await.expect("another tenant's");
    store.put_function(first.clone(), code.clone()).await.expect("known already");
    assert!(store.of(&acme).remove_function(first.id).await.expect("answered"));
    put(&store, &acme, &code, two).await.expect("in its place");
    let together = (0..8).map(|_| put(&store, &other, &code, two));
    let together = futures_util::future::join_all(together).await;
    assert_eq!(together.iter().filter(|put| put.is_ok()).count(), 1, "one of eight at once");
}

#[tokio::test]
async fn a_tenant_has_as_many_bytes_as_it_may_also_of_functions_that_are_deleted() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (acme, other) = (tenant("acme"), tenant("other"));
    let quotas = StoreQuotas { stored_bytes: Some(10_000), ..StoreQuotas::default() };
    let code = |byte: u8| Bytes::from(vec![byte; 4_000]);
    let first = put(&store, &acme, &code(1), quotas).await.expect("the first");
    put(&store, &acme, &code(2), quotas).await.expect("the second");
    let refused = over(put(&store, &acme, &code(3), quotas).await);
    assert_eq!((refused.quota, refused.limit), (StoreQuota::StoredBytes, 10_000));
    assert!((8_000..10_000).contains(&refused.used), "{refused:?}");
    put(&store, &other, &code(3), quotas).await.expect("another tenant's");
    assert!(store.of(&acme).remove_function(first.id).await.expect("answered"));
    let still = over(put(&store, &acme, &code(3), quotas).await);
    assert_eq!(still.used, refused.used, "its code is there for tasks that wait");
    // As if that time were over.
    assert_eq!(redis.expire("acme").await, 1);
    put(&store, &acme, &code(3), quotas).await.expect("there is room");
    let left: u64 = redis.command(&["EXISTS", "{belljar}:ends:acme"]).await;
    assert_eq!(left, 0);
}
