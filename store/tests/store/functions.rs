//! Functions and their code.

use belljar_core::id::FunctionId;
use belljar_core::task::{CodeHash, TaskLimits};
use belljar_core::tenant::Tenant;
use belljar_store::record::{FunctionRecord, Timestamp};
use bytes::Bytes;

use crate::harness::{Redis, native};

fn function(name: &str, code: &Bytes) -> FunctionRecord {
    FunctionRecord {
        id: FunctionId::random(),
        name: name.to_owned(),
        description: "doubles".to_owned(),
        class: native(),
        tenant: Tenant::default(),
        limits: TaskLimits::DEFAULT,
        grants: None,
        code: CodeHash::of(code),
        code_bytes: code.len() as u64,
        registered_at: Timestamp(0),
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
        let page =
            store.of(&Tenant::default()).functions(cursor.as_deref(), 10).await.expect("read");
        listed.extend(page.items.into_iter().map(|function| function.expect("readable")));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, expected);
}
