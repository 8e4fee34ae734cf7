//! Redis over TLS.

use std::error::Error as _;

use belljar_core::id::DispatcherId;
use belljar_store::record::Settled;
use belljar_store::{Store, StoreConfig, StoreError, StoreTls, Topic};
use belljar_testkit::{Authority, Redis};
use tempfile::TempDir;

use crate::harness::{NOBODY, audit, claim_one, completed, submit_one};

/// A server that asks for TLS and a certificate on its port, with a user who may do what belljar does.
struct Server {
    _redis: Redis,
    dir: TempDir,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let dir = TempDir::new().expect("a directory");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let authority = Authority::new().expect("an authority");
        std::fs::write(path("ca.pem"), authority.pem()).expect("written");
        for name in ["server", "client"] {
            let (certificate, key) = (path(&format!("{name}.pem")), path(&format!("{name}.key")));
            authority.sign("127.0.0.1", certificate.as_ref(), key.as_ref()).expect("signed");
        }
        let port = belljar_testkit::redis::free_port().expect("a port");
        // What belljar needs, as docs/how-to/redis.md has it.
        let acl =
            "user belljar on >secret ~{belljar}:* &{belljar}:* +@all -@admin -@dangerous +info";
        std::fs::write(path("users.acl"), format!("user default on nopass ~* &* +@all\n{acl}\n"))
            .expect("written");
        let options = [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", path("server.pem")),
            ("--tls-key-file", path("server.key")),
            ("--tls-ca-cert-file", path("ca.pem")),
            ("--aclfile", path("users.acl")),
        ];
        let options: Vec<&str> = options.iter().flat_map(|(name, value)| [*name, value]).collect();
        let redis = Redis::start_with(&options).expect("redis-server with TLS");
        Self { _redis: redis, dir, port }
    }

    fn config(&self, user: &str, ca: bool, own: bool) -> StoreConfig {
        let path = |name: &str| self.dir.path().join(name);
        let tls = StoreTls {
            ca: ca.then(|| path("ca.pem")),
            own: own.then(|| (path("client.pem"), path("client.key"))),
        };
        let url = format!("rediss://{user}@127.0.0.1:{}/0", self.port);
        StoreConfig { tls, ..StoreConfig::new(url) }
    }
}

/// The error and what caused it, in one line.
fn told(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn certificates_and_a_user_with_few_rights_are_enough() {
    let server = Server::start();
    let store =
        Store::connect(server.config("belljar:secret", true, true)).await.expect("connects");
    let _subscription = store.subscribe(&[Topic::Work, Topic::Ended]).await.expect("subscribes");
    submit_one(&store).await;
    let task = claim_one(&store, DispatcherId::random()).await.task();
    let settled = store.complete(NOBODY, 0, &[completed(task, b"v")]).await.expect("completed");
    assert_eq!(settled, [Settled::Accepted]);
    store.probe_writes().await.expect("it takes writes");
    assert!(audit(&store).await.is_consistent());
}

#[tokio::test]
async fn what_is_wrong_with_them_is_said() {
    let server = Server::start();
    let refused =
        async |config: StoreConfig| told(&Store::connect(config).await.err().expect("refused"));
    let unknown = refused(server.config("belljar:secret", false, true)).await;
    assert!(unknown.contains("invalid peer certificate"), "{unknown}");
    let password = refused(server.config("belljar:wrong", true, true)).await;
    assert!(password.contains("refuses this password"), "{password}");
    let config = server.config("belljar:secret", true, true);
    let plain = StoreConfig { url: config.url.replace("rediss:", "redis:"), ..config.clone() };
    let plain = refused(plain).await;
    assert!(plain.contains("rediss:// asks for TLS") && !plain.contains("secret"), "{plain}");
    let mut missing = config.clone();
    missing.tls.ca = Some("/nope/ca.pem".into());
    assert!(refused(missing).await.starts_with("`/nope/ca.pem` cannot be read: "));
    let mut empty = config;
    empty.tls.ca = Some(server.dir.path().join("server.key"));
    let empty = refused(empty).await;
    assert!(
        empty.contains("the certificates for Redis at") || empty.contains("certificate"),
        "{empty}"
    );
}
