//! The gateway over real sockets and a real Redis server; the dispatcher is played.
#![expect(clippy::expect_used, reason = "a test may fail where it stands")]

mod abuse;
mod auth;
mod classic;
mod memory;
mod openapi;
mod requests;
mod support;
mod tls;
mod v1;
mod waiting;
