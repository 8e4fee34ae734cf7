//! The gateway over real sockets and a real Redis server; the dispatcher is played.
#![expect(clippy::expect_used, reason = "a test may fail where it stands")]

mod abuse;
mod activity;
mod audit_log;
mod audit_stream;
mod auth;
mod binary;
mod classic;
mod client_certificates;
mod cors;
mod encoded;
mod files;
mod functions;
mod memory;
mod oidc;
mod openapi;
mod policy;
mod quotas;
mod readiness;
mod requests;
mod support;
mod tls;
mod v1;
mod values;
mod waiting;

/// As in the service: what a request costs in memory depends on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
