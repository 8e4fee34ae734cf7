//! Clients that show a certificate in place of a key.

use std::path::Path;
use std::time::{Duration, SystemTime};

use belljar_core::api_key::ApiKeyHash;
use belljar_gateway::{CertificateFiles, Listener, Listeners, Tls};
use belljar_store::record::{ApiKey, Timestamp};
use belljar_testkit::Authority;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

use crate::support::client::{Connection, Reply, request};
use crate::support::guarded::{ALL, Guarded, record};
use crate::support::{FUNCTION, until};
use crate::tls::{an_authority, connect_as, signed};

const AN_HOUR: Duration = Duration::from_secs(3600);

fn in_an_hour() -> SystemTime {
    SystemTime::now() + AN_HOUR
}

/// A service whose clients may show certificates of an authority of their own.
struct Service {
    guarded: Guarded,
    server: Authority,
    clients: Authority,
    files: CertificateFiles,
    _dir: tempfile::TempDir,
}

type Shown = Option<(String, String)>;

impl Service {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (server, clients) = (an_authority(), an_authority());
        let authorities = dir.path().join("clients.pem");
        std::fs::write(&authorities, clients.pem()).expect("written");
        let files = CertificateFiles { clients: Some(authorities), ..signed(&server, dir.path()) };
        let tls = Tls::load(files.clone()).expect("usable files");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let listeners = Listeners { sockets: vec![Listener::Tcp(listener)], tls: Some(tls) };
        Self { guarded: Guarded::on(listeners).await, server, clients, files, _dir: dir }
    }

    /// Makes the key that certificates with this name stand for.
    async fn name(&self, name: &str, tenant: &str) -> ApiKeyHash {
        let (hash, key) = (ApiKeyHash::of_certificate(name), record(tenant, &ALL));
        let key = ApiKey { certificate: Some(name.to_owned()), ..key };
        let is_new = self.guarded.gateway.store.put_certificate_key(hash, &key).await;
        assert!(is_new.expect("stored"));
        hash
    }

    /// A certificate of a client.
    fn certificate(&self, names: &[&str]) -> Shown {
        Some(self.clients.sign_client(names, in_an_hour()).expect("signed"))
    }

    async fn connect(&self, shown: &Shown) -> std::io::Result<Connection<TlsStream<TcpStream>>> {
        let gateway = &self.guarded.gateway;
        let stream = connect_as(&self.server, gateway, b"http/1.1", shown.as_ref()).await?;
        Ok(Connection::over(stream))
    }

    /// One request over a connection of its own.
    async fn send(&self, shown: &Shown, key: &str, method: &str, path: &str) -> Reply {
        let mut connection = self.connect(shown).await.expect("connected");
        send(&mut connection, key, method, path).await
    }
}

async fn send(
    connection: &mut Connection<TlsStream<TcpStream>>,
    key: &str,
    method: &str,
    path: &str,
) -> Reply {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    let headers = if key.is_empty() { &[][..] } else { &headers[..] };
    let body = match method {
        "POST" => json!({"name": "len", "payload": FUNCTION}).to_string(),
        _ => String::new(),
    };
    connection.write(&request(method, path, headers, body.as_bytes())).await;
    connection.reply().await.expect("a reply")
}

#[tokio::test]
async fn the_common_name_of_a_certificate_stands_for_a_key() {
    let service = Service::start().await;
    service.name("ann", "acme").await;
    service.name("bob", "other").await;
    let [ann, bob] = ["ann", "bob"].map(|name| service.certificate(&[name]));
    let registered = service.send(&ann, "", "POST", "/register_function").await;
    let path = format!("/v1/functions/{}", registered.text_at("function_id"));
    assert_eq!(service.send(&ann, "", "GET", &path).await.status, 200);
    service.send(&bob, "", "GET", &path).await.is_error(404, "unknown_function");
    service.send(&ann, "", "GET", "/v1/workers").await.is_error(403, "scope_missing");

    // Without a certificate everything is as it was, and a key that is shown counts for more.
    service.send(&None, "", "GET", &path).await.is_error(401, "key_missing");
    let key = service.guarded.key("acme", &ALL).await;
    assert_eq!(service.send(&None, &key, "GET", &path).await.status, 200);
    assert_eq!(service.send(&bob, &key, "GET", &path).await.status, 200);
    service.send(&ann, "bj_x", "GET", &path).await.is_error(401, "key_invalid");
    // A new certificate of the same name stands for the same key.
    assert_eq!(service.send(&service.certificate(&["ann"]), "", "GET", &path).await.status, 200);
}

#[tokio::test]
async fn each_request_of_http_2_is_of_the_certificate() {
    let service = Service::start().await;
    service.name("ann", "acme").await;
    let (gateway, ann) = (&service.guarded.gateway, service.certificate(&["ann"]));
    for (shown, status) in [(&ann, 200), (&None, 401)] {
        let stream = connect_as(&service.server, gateway, b"h2", shown.as_ref()).await;
        let (mut sender, connection) =
            h2::client::handshake(stream.expect("connected")).await.expect("HTTP/2");
        let connection = tokio::spawn(connection);
        for _ in 0..2 {
            let get = http::Request::get("https://localhost/v1/tasks").body(()).expect("valid");
            sender = sender.ready().await.expect("open");
            let (answer, _) = sender.send_request(get, true).expect("sent");
            assert_eq!(answer.await.expect("an answer").status(), status);
        }
        connection.abort();
    }
}

#[tokio::test]
async fn a_certificate_that_stands_for_no_key_is_refused() {
    let service = Service::start().await;
    service.name("ann", "acme").await;
    for (names, says) in [
        (&["eve"][..], "belljar key create --certificate"),
        (&["Ann"], "belljar key create --certificate"),
        (&["ann\0.example"], "belljar key create --certificate"),
        (&[], "one common name"),
        (&["ann", "eve"], "one common name"),
    ] {
        let reply = service.send(&service.certificate(names), "", "GET", "/v1/tasks").await;
        reply.is_error(401, "key_invalid");
        assert!(reply.text().contains(says), "{names:?}: {}", reply.text());
        let public = service.send(&service.certificate(names), "", "GET", "/healthz").await;
        assert_eq!(public.status, 200);
    }
    // One that another authority has signed, also that of the service, is no certificate.
    for authority in [&an_authority(), &service.server] {
        let forged = Some(authority.sign_client(&["ann"], in_an_hour()).expect("signed"));
        is_refused(&service, &forged).await;
    }
    let over =
        Some(service.clients.sign_client(&["ann"], SystemTime::now() - AN_HOUR).expect("signed"));
    is_refused(&service, &over).await;
}

/// With TLS 1.3 a client learns that its certificate is refused when it reads.
async fn is_refused(service: &Service, shown: &Shown) {
    let Ok(mut connection) = service.connect(shown).await else { return };
    connection.write(&request("GET", "/v1/tasks", &[], b"")).await;
    assert!(connection.reply().await.is_none());
}

#[tokio::test]
async fn a_revoked_key_and_a_certificate_that_ends_are_refused_on_open_connections() {
    let service = Service::start().await;
    let hash = service.name("ann", "acme").await;
    service.name("bob", "acme").await;
    let mut open = service.connect(&service.certificate(&["ann"])).await.expect("connected");
    assert_eq!(send(&mut open, "", "GET", "/v1/tasks").await.status, 200);
    let soon = SystemTime::now() + Duration::from_secs(2);
    let short = service.clients.sign_client(&["bob"], soon).expect("signed");
    let mut ending = service.connect(&Some(short)).await.expect("connected");
    assert_eq!(send(&mut ending, "", "GET", "/v1/tasks").await.status, 200);

    let store = &service.guarded.gateway.store;
    let revoke = |key: &mut ApiKey| key.revoked_at = Some(Timestamp(1));
    assert!(store.change_api_key(hash, revoke, &[]).await.expect("changed").is_some());
    until("both are refused", async || {
        let mut codes = Vec::new();
        for connection in [&mut open, &mut ending] {
            let reply = send(connection, "", "GET", "/v1/tasks").await;
            codes.push((reply.status == 401).then(|| reply.text_at("code")));
        }
        codes == [Some("key_revoked".to_owned()), Some("key_expired".to_owned())]
    })
    .await;

    // Another key can be made for the name then, and not before.
    let again = ApiKey { certificate: Some("ann".to_owned()), ..record("other", &ALL) };
    assert!(store.put_certificate_key(hash, &again).await.expect("stored"));
    assert!(!store.put_certificate_key(hash, &again).await.expect("stored"));
    until("it is taken", async || send(&mut open, "", "GET", "/v1/tasks").await.status == 200)
        .await;
}

#[tokio::test]
async fn new_authorities_are_taken_without_a_restart() {
    let service = Service::start().await;
    service.name("ann", "acme").await;
    let other = an_authority();
    let new: Shown = Some(other.sign_client(&["ann"], in_an_hour()).expect("signed"));
    is_refused(&service, &new).await;
    let authorities: &Path = service.files.clients.as_deref().expect("a file");
    std::fs::write(authorities, other.pem()).expect("written");
    until("the new authority", async || {
        let Ok(mut connection) = service.connect(&new).await else { return false };
        connection.write(&request("GET", "/v1/tasks", &[], b"")).await;
        connection.reply().await.is_some_and(|reply| reply.status == 200)
    })
    .await;
    is_refused(&service, &service.certificate(&["ann"])).await;
}

#[test]
fn a_file_without_authorities_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let empty = dir.path().join("clients.pem");
    std::fs::write(&empty, "").expect("written");
    let files = CertificateFiles { clients: Some(empty), ..signed(&an_authority(), dir.path()) };
    let error = Tls::load(files).err().expect("unusable").to_string();
    assert!(error.contains("clients' authorities") && error.contains("clients.pem"), "{error}");
}
