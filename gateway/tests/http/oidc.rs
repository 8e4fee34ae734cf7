//! Tokens of an OpenID Connect issuer: a real one on this machine, with keys that the test makes.

mod issuer;

use std::time::{Duration, SystemTime};

use belljar_gateway::oidc::{KeyTimes, OidcConfig};
use serde_json::{Value, json};

use crate::support::FUNCTION;
use crate::support::client::Reply;
use crate::support::guarded::{ALL, Guarded};
use crate::support::until;
use issuer::{Issuer, SigningKey, base64url, token};

const AUDIENCE: &str = "belljar-tests";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// What a token says that is taken, changed by `with`, in which null is a claim that is absent.
fn claims(issuer: &Issuer, with: &[(&str, Value)]) -> Value {
    let mut claims = json!({
        "iss": issuer.url, "aud": AUDIENCE, "exp": now() + 300, "nbf": now() - 1, "sub": "ann",
        "tenant": "acme", "scope": "openid belljar:register belljar:read"
    });
    for (name, value) in with {
        claims[*name] = value.clone();
    }
    claims.as_object_mut().expect("claims").retain(|_, value| !value.is_null());
    claims
}

async fn gateway(issuer: &Issuer, times: KeyTimes) -> Guarded {
    let config = OidcConfig {
        issuer: issuer.url.parse().expect("a URL"),
        audience: AUDIENCE.to_owned(),
        tenant_claim: "tenant".to_owned(),
        scope_claim: "scope".to_owned(),
        times,
    };
    Guarded::with(|gateway| gateway.oidc = Some(config)).await
}

async fn list(guarded: &Guarded, token: &str) -> Reply {
    guarded.send(token, "GET", "/v1/functions", &Value::Null).await
}

#[tokio::test]
async fn a_token_names_tenant_and_scopes_whatever_signs_it() {
    let keys = SigningKey::one_of_each();
    let issuer = Issuer::start(keys.iter().map(SigningKey::jwk).collect()).await;
    let guarded = gateway(&issuer, KeyTimes::default()).await;
    let owner = guarded.key("acme", &ALL).await;
    let function = guarded.register(&owner).await;
    for key in &keys {
        let token = key.sign(&claims(&issuer, &[]));
        let reply = list(&guarded, &token).await;
        assert_eq!(reply.status, 200, "{}: {}", key.algorithm, reply.text());
        assert!(reply.text().contains(&function), "its tenant's");
        let other = key.sign(&claims(&issuer, &[("tenant", json!("other"))]));
        assert!(!list(&guarded, &other).await.text().contains(&function));
        let body = json!({"name": "len", "payload": FUNCTION});
        let reader = key.sign(&claims(&issuer, &[("scope", json!(["belljar:read"]))]));
        let refused = guarded.send(&reader, "POST", "/register_function", &body).await;
        refused.is_error(403, "scope_missing");
        assert!(refused.text().contains("belljar:register"), "{}", refused.text());
        let none = key.sign(&claims(&issuer, &[("scope", json!("register read"))]));
        list(&guarded, &none).await.is_error(403, "scope_missing");
        let registered = guarded.send(&token, "POST", "/register_function", &body).await;
        assert_eq!(registered.status, 200);
    }
    assert_eq!(issuer.asked(), 1, "the keys were fetched once");
}

#[tokio::test]
async fn every_claim_is_checked() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(vec![key.jwk()]).await;
    let guarded = gateway(&issuer, KeyTimes::default()).await;
    for taken in [
        ("exp", json!(now() - 30)),
        ("nbf", json!(now() + 30)),
        ("aud", json!(["others", AUDIENCE])),
        ("nbf", Value::Null),
    ] {
        let reply = list(&guarded, &key.sign(&claims(&issuer, std::slice::from_ref(&taken)))).await;
        assert_eq!(reply.status, 200, "{taken:?}: {}", reply.text());
    }
    for (name, value, code, says) in [
        ("exp", json!(now() - 90), "token_expired", "has expired"),
        ("exp", Value::Null, "token_invalid", "lacks a claim"),
        ("exp", json!("tomorrow"), "token_invalid", "lacks a claim"),
        ("nbf", json!(now() + 90), "token_invalid", "not valid yet"),
        ("aud", json!("others"), "token_invalid", "not for this service"),
        ("aud", json!([]), "token_invalid", "not for this service"),
        ("aud", Value::Null, "token_invalid", "lacks a claim"),
        ("iss", json!(format!("{}/", issuer.url)), "token_invalid", "another issuer"),
        ("iss", Value::Null, "token_invalid", "lacks a claim"),
        ("tenant", Value::Null, "token_invalid", "names no tenant"),
        ("tenant", json!("No Tenant"), "token_invalid", "names no tenant"),
        ("tenant", json!(["acme"]), "token_invalid", "names no tenant"),
    ] {
        let reply = list(&guarded, &key.sign(&claims(&issuer, &[(name, value.clone())]))).await;
        reply.is_error(401, code);
        assert!(reply.text().contains(says), "{name} {value}: {}", reply.text());
        let challenge = reply.header("www-authenticate").unwrap_or_default();
        assert!(challenge.contains("invalid_token"), "{challenge}");
    }
}

#[tokio::test]
async fn only_signatures_of_the_issuers_keys_count() {
    let key = SigningKey::es256("one");
    // A symmetric key in the set checks nothing.
    let symmetric =
        json!({"kty": "oct", "kid": "shared", "alg": "HS256", "k": base64url(b"secret")});
    let issuer = Issuer::start(vec![key.jwk(), symmetric]).await;
    let guarded = gateway(&issuer, KeyTimes::default()).await;
    let claims = claims(&issuer, &[]);
    assert_eq!(list(&guarded, &key.sign(&claims)).await.status, 200);

    let header = |algorithm: &str, id: &str| json!({"alg": algorithm, "kid": id, "typ": "JWT"});
    let other = SigningKey::es256("one");
    let public = serde_json::to_vec(&key.jwk()).expect("JSON");
    let ours = |header: &Value| token(header, &claims, |message| key.signature(message));
    let by_secret = |id: &str, secret: &[u8]| {
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let sign = |message: &[u8]| ring::hmac::sign(&secret, message).as_ref().to_vec();
        token(&header("HS256", id), &claims, sign)
    };
    let mut critical = header("ES256", "one");
    critical["crit"] = json!(["b64"]);
    let whole = key.sign(&claims);
    let (signed, signature) = whole.rsplit_once('.').expect("three parts");
    let changed = token(&header("ES256", "one"), &json!({"iss": "x"}), |_| Vec::new());
    let changed_claims = changed.split('.').nth(1).expect("claims");
    let first = signed.split('.').next().expect("a header");
    for (what, token, says) in [
        ("another key of the same id", other.sign(&claims), "signature of the token is wrong"),
        ("no signature", token(&header("none", "one"), &claims, |_| Vec::new()), "no JWT"),
        ("an empty signature", format!("{signed}."), "signature of the token is wrong"),
        ("other claims", format!("{first}.{changed_claims}.{signature}"), "signature"),
        ("the public key as a secret", by_secret("one", &public), "not accepted"),
        ("the shared secret", by_secret("shared", b"secret"), "not accepted"),
        ("RSA with a curve's key", ours(&header("RS256", "one")), "not accepted"),
        ("a larger curve", ours(&header("ES384", "one")), "not accepted"),
        ("a header that must be understood", ours(&critical), "no JWT"),
        ("an unknown key", ours(&header("ES256", "two")), "key that its issuer does not have"),
        ("no header", format!("ey.{signature}.{signature}"), "no JWT"),
    ] {
        let reply = list(&guarded, &token).await;
        reply.is_error(401, "token_invalid");
        assert!(reply.text().contains(says), "{what}: {}", reply.text());
    }
    for malformed in ["eyJ.x", "eyJ.e!.x", "bj_x"] {
        list(&guarded, malformed).await.is_error(401, "key_invalid");
    }
    // The only usable key needs no name.
    let nameless = ours(&json!({"alg": "ES256"}));
    assert_eq!(list(&guarded, &nameless).await.status, 200);
}

#[tokio::test]
async fn rotated_keys_are_followed_and_unknown_ones_do_not_flood_the_issuer() {
    let [old, new] = ["old", "new"].map(SigningKey::es256);
    let issuer = Issuer::start(vec![old.jwk()]).await;
    let often = Duration::from_millis(50);
    let times = KeyTimes { refresh: often, pause: often, ..KeyTimes::default() };
    let guarded = gateway(&issuer, times).await;
    assert_eq!(list(&guarded, &old.sign(&claims(&issuer, &[]))).await.status, 200);
    issuer.rotate(vec![new.jwk()]);
    until("the new key is known", async || {
        list(&guarded, &new.sign(&claims(&issuer, &[]))).await.status == 200
    })
    .await;
    let stale = list(&guarded, &old.sign(&claims(&issuer, &[]))).await;
    stale.is_error(401, "token_invalid");

    let guarded = gateway(&issuer, KeyTimes::default()).await;
    assert_eq!(list(&guarded, &new.sign(&claims(&issuer, &[]))).await.status, 200);
    let before = issuer.asked();
    for number in 0..50 {
        let unknown = SigningKey::es256(&format!("unknown-{number}"));
        let token = unknown.sign(&claims(&issuer, &[]));
        list(&guarded, &token).await.is_error(401, "token_invalid");
    }
    assert_eq!(issuer.asked(), before, "it was asked a moment ago");
}

#[tokio::test]
async fn an_issuer_that_is_down_stops_nobody_whose_key_is_known() {
    let [one, two] = ["one", "two"].map(SigningKey::es256);
    let issuer = Issuer::start(vec![one.jwk()]).await;
    issuer.set_down(true);
    let often = Duration::from_millis(50);
    let times = KeyTimes { refresh: often, pause: often, ..KeyTimes::default() };
    let guarded = gateway(&issuer, times).await;
    let key = guarded.key("acme", &ALL).await;
    assert_eq!(list(&guarded, &key).await.status, 200, "keys need no issuer");
    assert_eq!(issuer.asked(), 0);
    list(&guarded, &one.sign(&claims(&issuer, &[]))).await.is_error(503, "issuer_unreachable");
    issuer.set_down(false);
    until("it is asked again", async || {
        list(&guarded, &one.sign(&claims(&issuer, &[]))).await.status == 200
    })
    .await;
    issuer.set_down(true);
    until("it does not answer", async || {
        list(&guarded, &two.sign(&claims(&issuer, &[]))).await.status == 503
    })
    .await;
    // A token of its own, so that no cached one is meant.
    let other = one.sign(&claims(&issuer, &[("jti", json!("other"))]));
    assert_eq!(list(&guarded, &other).await.status, 200, "the key is known");
}

#[tokio::test]
async fn a_token_ends_on_an_open_connection_and_ends_streams() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(vec![key.jwk()]).await;
    let guarded = gateway(&issuer, KeyTimes::default()).await;
    // Two seconds are left of what the clocks may differ.
    let token = key.sign(&claims(&issuer, &[("exp", json!(now() - 58))]));
    let mut stream = guarded.gateway.client().connect().await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let request = crate::support::client::request("GET", "/v1/events", &headers, b"");
    stream.write(&request).await;
    stream.until(": connected").await;
    until("it has expired", async || list(&guarded, &token).await.status == 401).await;
    list(&guarded, &token).await.is_error(401, "token_expired");
    stream.until("event: unauthorized").await;
}

#[tokio::test]
async fn a_token_is_no_key_where_none_are_taken_and_the_log_names_its_holder() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(vec![key.jwk()]).await;
    let token = key.sign(&claims(&issuer, &[]));
    let guarded = Guarded::start().await;
    list(&guarded, &token).await.is_error(401, "key_invalid");

    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("audit.log");
    let log = belljar_gateway::audit_log::AuditLog::open(&path).expect("a log");
    let config = OidcConfig {
        issuer: issuer.url.parse().expect("a URL"),
        audience: AUDIENCE.to_owned(),
        tenant_claim: "tenant".to_owned(),
        scope_claim: "scope".to_owned(),
        times: KeyTimes::default(),
    };
    let guarded = Guarded::with(|gateway| {
        gateway.oidc = Some(config);
        gateway.audit_log = Some(std::sync::Arc::new(log));
    })
    .await;
    guarded.register(&token).await;
    let text = || std::fs::read_to_string(&path).unwrap_or_default();
    until("it is recorded", async || text().contains("\"action\":\"register\"")).await;
    assert!(
        text().contains("\"tenant\":\"acme\"") && text().contains("\"user\":\"ann\""),
        "{}",
        text()
    );
    let (_, signature) = token.rsplit_once('.').expect("a signature");
    assert!(!text().contains(signature));
}
