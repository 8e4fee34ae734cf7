//! Web pages of others that may use the service from a browser.

use serde_json::json;

use crate::support::client::Reply;
use crate::support::guarded::{ALL, Guarded};
use crate::support::{FUNCTION, Gateway};

const LISTED: &str = "https://app.example";
const OTHER: &str = "https://evil.example";

/// The headers of an answer that are about other pages.
fn allowed(reply: &Reply) -> Option<&str> {
    reply.header("access-control-allow-origin")
}

async fn preflight(guarded: &Guarded, origin: &str, method: &str, path: &str) -> Reply {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", "authorization,content-type,traceparent"),
    ];
    guarded.gateway.client().send("OPTIONS", path, &headers, b"").await
}

#[tokio::test]
async fn pages_of_the_list_may_use_the_service() {
    let origins = vec![LISTED.parse().expect("an origin")];
    let guarded = Guarded::with(|config| config.cors_origins = origins).await;
    // The browser asks before it sends a key.
    for (method, path) in
        [("POST", "/register_function"), ("GET", "/v1/tasks"), ("DELETE", "/v1/functions/x")]
    {
        let reply = preflight(&guarded, LISTED, method, path).await;
        assert_eq!((reply.status, allowed(&reply)), (200, Some(LISTED)), "{path}");
        let methods = reply.header("access-control-allow-methods").unwrap_or_default();
        assert!(methods.split(',').any(|it| it == method), "{methods}");
        let headers = reply.header("access-control-allow-headers").unwrap_or_default();
        assert!(headers.contains("authorization") && headers.contains("traceparent"), "{headers}");
        assert!(reply.header("access-control-max-age").is_some());
        assert_eq!(reply.header("access-control-allow-credentials"), None);
        let reply = preflight(&guarded, OTHER, method, path).await;
        assert_eq!((reply.status, allowed(&reply)), (405, None), "{path}");
    }

    let key = guarded.key("acme", &ALL).await;
    let bearer = format!("Bearer {key}");
    let body = json!({"name": "len", "payload": FUNCTION}).to_string();
    let send = async |method: &str, path: &str, origin: &str| {
        let headers = [
            ("origin", origin),
            ("sec-fetch-site", "cross-site"),
            ("authorization", bearer.as_str()),
        ];
        let body = if method == "POST" { body.as_bytes() } else { b"" };
        guarded.gateway.client().send(method, path, &headers, body).await
    };
    let reply = send("POST", "/register_function", LISTED).await;
    assert_eq!((reply.status, allowed(&reply)), (200, Some(LISTED)));
    let shown = reply.header("access-control-expose-headers").unwrap_or_default();
    assert!(shown.contains("x-request-id") && shown.contains("retry-after"), "{shown}");
    assert!(reply.header("vary").is_some_and(|vary| vary.contains("origin")));
    let reply = send("POST", "/register_function", OTHER).await;
    reply.is_error(403, "foreign_origin");
    assert_eq!(allowed(&reply), None);
    let reply = send("GET", "/v1/functions", OTHER).await;
    assert_eq!((reply.status, allowed(&reply)), (200, None), "the page cannot read it");
}

#[tokio::test]
async fn what_is_no_preflight_of_a_route_is_refused() {
    let origins = vec![LISTED.parse().expect("an origin")];
    let guarded = Guarded::with(|config| config.cors_origins = origins).await;
    for (method, path, status) in [
        ("POST", "/nowhere", 404),
        ("POST", "/v1/events", 405),
        ("OPTIONS", "/v1/tasks", 405),
        ("PUT", "/v1/tasks", 405),
        ("", "/v1/tasks", 405),
    ] {
        let reply = preflight(&guarded, LISTED, method, path).await;
        assert_eq!((reply.status, allowed(&reply)), (status, None), "{method} {path}");
    }
    for headers in [&[][..], &[("origin", LISTED)], &[("access-control-request-method", "POST")]] {
        let reply = guarded.gateway.client().send("OPTIONS", "/v1/tasks", headers, b"").await;
        reply.is_error(405, "method_not_allowed");
        assert_eq!(allowed(&reply), None, "{headers:?}");
    }
}

#[tokio::test]
async fn a_page_of_the_list_can_read_why_it_is_refused() {
    let origins = vec![LISTED.parse().expect("an origin")];
    let guarded = Guarded::with(|config| config.cors_origins = origins).await;
    let client = guarded.gateway.client();
    let origin = ("origin", LISTED);
    for (host, status) in [("localhost", 401), ("evil.example", 421)] {
        let reply = client.send("GET", "/v1/tasks", &[origin, ("host", host)], b"").await;
        assert_eq!((reply.status, allowed(&reply)), (status, Some(LISTED)));
    }
}

#[tokio::test]
async fn without_a_list_browsers_are_told_nothing() {
    let gateway = Gateway::start().await;
    let headers = [("origin", LISTED), ("access-control-request-method", "POST")];
    let reply = gateway.client().send("OPTIONS", "/register_function", &headers, b"").await;
    assert_eq!((reply.status, allowed(&reply)), (405, None));
    let reply = gateway.client().send("GET", "/v1/functions", &headers[..1], b"").await;
    assert_eq!((reply.status, allowed(&reply), reply.header("vary")), (200, None, None));
}
