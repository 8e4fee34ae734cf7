//! What the end-to-end tests share: a whole service on a free port over its own Redis, and a client for its
//! REST interface.
//!
//! # Layout
//!
//! * [`service`]: `belljar up`.
//! * [`deployment`]: a service whose processes a test starts one by one.
//! * [`client`]: REST and JSON.
//! * [`disk`]: a file system that is soon full.
//! * [`examples`]: the functions of `guest-examples/`.
//! * [`session`]: sessions, by REST.

pub mod client;
pub mod deployment;
pub mod disk;
pub mod examples;
pub mod service;
pub mod session;

pub use client::Client;
pub use deployment::Deployment;
pub use service::Service;
pub use session::Session;

use std::process::Command;

use anyhow::Result;
use belljar_testkit::{binary, paths};

/// Runs `belljar` and returns whether it did what it was asked, and its output or else its errors.
///
/// # Errors
/// It was not built, or prints something else than text.
pub fn belljar(args: &[&str]) -> Result<(bool, String)> {
    let mut command = Command::new(binary("belljar"));
    let output = command.args(args).env("BELLJAR_SITE", paths::site()).output()?;
    let done = output.status.success();
    Ok((done, String::from_utf8(if done { output.stdout } else { output.stderr })?))
}
