//! The gateway over real sockets and a real Redis server; the dispatcher is played.
#![expect(clippy::expect_used, reason = "a test may fail where it stands")]

mod abuse;
mod classic;
mod memory;
mod openapi;
mod requests;
mod support;
mod v1;
mod waiting;
