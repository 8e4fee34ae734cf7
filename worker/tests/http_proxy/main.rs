//! HTTP requests of sandboxed calls, against real servers: what the worker's proxy lets through, and what a function
//! in a guest sees of it.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod guest;
mod proxy;
mod server;
#[path = "../support/mod.rs"]
mod support;
