//! What the end-to-end tests share: a whole service on a free port over its own Redis, and a client for its
//! REST interface.
//!
//! # Layout
//!
//! * [`service`]: `belljar up`.
//! * [`deployment`]: a service whose processes a test starts one by one.
//! * [`client`]: REST and JSON.
//! * [`examples`]: the functions of `guest-examples/`.

pub mod client;
pub mod deployment;
pub mod examples;
pub mod service;

pub use client::Client;
pub use deployment::Deployment;
pub use service::Service;
