//! HTTP requests of sandboxed calls, against real servers: what the worker's proxy lets through.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod proxy;
mod server;
#[path = "../support/mod.rs"]
mod support;
