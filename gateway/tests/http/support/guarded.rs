//! A gateway that requires keys.

use belljar_core::api_key::{ApiKeyHash, ApiKeySecret, Scope};
use belljar_core::task::Runtime;
use belljar_gateway::{Config, Listeners};
use belljar_store::record::{ApiKey, Timestamp};
use serde_json::{Value, json};

use super::client::Reply;
use super::{ARGS, FUNCTION, Gateway};

/// What a key has that its operator says nothing of.
pub(crate) const ALL: [Scope; 4] = [Scope::Submit, Scope::Read, Scope::Cancel, Scope::Register];

/// A key with these scopes.
pub(crate) fn record(tenant: &str, scopes: &[Scope]) -> ApiKey {
    ApiKey {
        name: "test".to_owned(),
        tenant: tenant.parse().expect("a name"),
        scopes: scopes.iter().copied().collect(),
        runtimes: Runtime::ALL.to_vec(),
        created_at: Timestamp(1),
        expires_at: None,
        revoked_at: None,
        certificate: None,
    }
}

/// A gateway that requires keys.
pub(crate) struct Guarded {
    pub(crate) gateway: Gateway,
    made: std::cell::Cell<u8>,
}

impl Guarded {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let configure = |config: &mut Config| {
            config.require_keys = true;
            configure(config);
        };
        let gateway = Gateway::with(configure, |_| {}).await;
        Self { gateway, made: std::cell::Cell::new(0) }
    }

    /// A gateway that listens there.
    pub(crate) async fn on(listeners: Listeners) -> Self {
        let gateway = Gateway::on(listeners, |config| config.require_keys = true).await;
        Self { gateway, made: std::cell::Cell::new(0) }
    }

    /// Stores a key and returns its text.
    pub(crate) async fn put(&self, key: &ApiKey) -> String {
        self.made.set(self.made.get() + 1);
        let secret = ApiKeySecret::new([self.made.get(); 25]);
        self.gateway.store.put_api_key(secret.hash(), key).await.expect("stored");
        secret.reveal().to_owned()
    }

    pub(crate) async fn key(&self, tenant: &str, scopes: &[Scope]) -> String {
        self.put(&record(tenant, scopes)).await
    }

    pub(crate) async fn send(&self, key: &str, method: &str, path: &str, body: &Value) -> Reply {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let headers = if key.is_empty() { &[][..] } else { &headers[..] };
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.gateway.client().send(method, path, headers, &bytes).await
    }

    pub(crate) async fn register(&self, key: &str) -> String {
        let body = json!({"name": "len", "payload": FUNCTION});
        self.send(key, "POST", "/register_function", &body).await.text_at("function_id")
    }

    pub(crate) async fn execute(&self, key: &str, function_id: &str) -> String {
        let body = json!({"function_id": function_id, "payload": ARGS});
        self.send(key, "POST", "/execute_function", &body).await.text_at("task_id")
    }

    pub(crate) async fn revoke(&self, key: &str) {
        let hash = ApiKeyHash::of(key.as_bytes()).expect("a key");
        let revoke = |key: &mut ApiKey| key.revoked_at = Some(Timestamp(1));
        let known = self.gateway.store.change_api_key(hash, revoke, &[]).await.expect("changed");
        assert!(known.is_some());
    }
}
