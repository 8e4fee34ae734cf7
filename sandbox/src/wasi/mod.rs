//! The guest's only way out: `wasi_snapshot_preview1`, as far as Python needs it here.
//!
//! Written here rather than taken from `wasmtime-wasi`, for three reasons: what is not here cannot be
//! reached (no socket, no process, no writing to the host); it never leaves the calling thread, so that the
//! process can forbid itself to start threads; and a call pays for nothing that it does not use.
//!
//! # Layout
//!
//! * [`calls`]: the functions, as wasmtime links them.
//! * [`files`]: descriptors and where paths lead: [`host`], granted directories, read-only, or [`scratch`],
//!   a `/tmp` in memory. [`time`]: clocks and sleep.
//! * [`output`]: where standard output and error go. [`guest`]: the guest's memory. [`errno`].

mod calls;
mod errno;
mod files;
mod guest;
mod host;
mod output;
mod scratch;
mod time;

use std::sync::Arc;
use std::time::Instant;

pub(crate) use calls::link;
pub use output::{Captured, Output};

use crate::grants::Mount;
use files::Files;
use output::Sinks;

/// The world of one instance.
#[derive(Debug)]
pub(crate) struct Wasi {
    pub(crate) files: Files,
    pub(crate) sinks: Sinks,
    /// When sleeping must end.
    pub(crate) deadline: Option<Instant>,
}

impl Wasi {
    pub(crate) fn new(mounts: Arc<[Mount]>, output: Output) -> Self {
        Self { files: Files::new(mounts), sinks: Sinks::new(output), deadline: None }
    }
}

/// The guest ended itself.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the guest exited with status {0}")]
pub(crate) struct Exit(pub(crate) i32);
