//! Bodies that are compressed.

use crate::support::{ARGS, Dispatcher, FUNCTION, Gateway};
use belljar_core::outcome::CallVerdict;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::json;
use std::io::{Read as _, Write as _};

const CODINGS: [&str; 2] = ["gzip", "zstd"];

fn compressed(coding: &str, body: &[u8]) -> Vec<u8> {
    if coding == "zstd" {
        return zstd::encode_all(body, 3).expect("into memory");
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("into memory");
    encoder.finish().expect("into memory")
}

fn decompressed(coding: &str, body: &[u8]) -> Vec<u8> {
    if coding == "zstd" {
        return zstd::decode_all(body).expect("whole");
    }
    let mut read = Vec::new();
    GzDecoder::new(body).read_to_end(&mut read).expect("whole");
    read
}

#[tokio::test]
async fn compressed_bodies_are_read() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    for coding in CODINGS {
        let body = json!({"name": "len", "payload": FUNCTION}).to_string();
        let sent = compressed(coding, body.as_bytes());
        let headers = [("content-encoding", coding)];
        let reply = client.send("POST", "/register_function", &headers, &sent).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let cut =
            client.send("POST", "/register_function", &headers, &sent[..sent.len() - 9]).await;
        cut.is_error(400, "invalid_encoding");
        let other = client.send("POST", "/register_function", &headers, body.as_bytes()).await;
        other.is_error(400, "invalid_encoding");
        let value = compressed(coding, &[7; 500_000]);
        let kept = client.send("PUT", "/v1/blobs", &headers, &value).await;
        assert_eq!((kept.status, kept.json()["bytes"].as_u64()), (201, Some(500_000)));
        let got = client.get(&format!("/v1/blobs/{}", kept.text_at("blob_id"))).await;
        assert!(got.body == [7; 500_000]);
    }
    for other in ["gzip, zstd", "br", "zst"] {
        let headers = [("content-encoding", other)];
        let reply = client.send("POST", "/register_function", &headers, b"").await;
        reply.is_error(415, "unsupported_encoding");
    }
}

#[tokio::test]
async fn what_grows_beyond_the_bound_is_refused() {
    let configure = |config: &mut belljar_gateway::Config| {
        config.max_body_bytes = 1 << 20;
        config.max_value_bytes = 1 << 20;
    };
    let gateway = Gateway::with(configure, |_| {}).await;
    let client = gateway.client();
    for coding in CODINGS {
        let sent = compressed(coding, &vec![b' '; 64 << 20]);
        assert!(sent.len() < 100_000, "{}", sent.len());
        let headers = [("content-encoding", coding)];
        let reply = client.send("POST", "/v1/tasks", &headers, &sent).await;
        reply.is_error(413, "body_too_large");
        let reply = client.send("PUT", "/v1/blobs", &headers, &sent).await;
        reply.is_error(413, "value_too_large");
    }
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_takes_that() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let dispatcher = Dispatcher::start(&gateway.store, &["native:3.11"]).await;
    let function = gateway.register().await;
    for size in [1_000_u32, 200_000] {
        let call = json!({"function_id": function, "payload": ARGS});
        let id = client.post("/execute_function", &call).await.text_at("task_id");
        let task = dispatcher.claim(1).await.pop().expect("a task");
        let value = [b"\x80\x04B", &size.to_le_bytes()[..], &vec![7; size as usize], b"."].concat();
        dispatcher.finish(&task, CallVerdict::Completed(Bytes::from(value))).await;
        let path = format!("/result/{id}");
        let plain = client.get(&path).await;
        for (accept, taken) in [("gzip", Some("gzip")), ("gzip, zstd", Some("zstd")), ("br", None)]
        {
            let reply = client.send("GET", &path, &[("accept-encoding", accept)], b"").await;
            let Some(coding) = taken.filter(|_| size >= 32 << 10) else {
                assert_eq!(reply.header("content-encoding"), None, "{size}");
                assert_eq!(reply.body, plain.body);
                continue;
            };
            assert_eq!(reply.header("content-encoding"), Some(coding));
            assert_eq!(reply.header("vary"), Some("accept-encoding"));
            assert!(reply.body.len() < plain.body.len() / 10);
            assert!(decompressed(coding, &reply.body) == plain.body);
        }
    }
}
