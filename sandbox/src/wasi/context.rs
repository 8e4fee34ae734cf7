//! What the host functions of one instance work on.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::Memory;

use super::files::Files;
use super::output::{Output, Sinks};
use crate::grants::Mount;
use crate::limits::Account;

/// The data of an instance's wasm store.
pub(crate) struct Host {
    pub(crate) wasi: Wasi,
    pub(crate) account: Account,
    /// The instance's memory, once there is an instance.
    pub(crate) memory: Option<Memory>,
}

impl Host {
    /// For an instance that may open `mounts`. Its memory has no limit yet.
    pub(crate) fn new(mounts: Arc<[Mount]>, output: Output) -> Self {
        let (files, sinks) = (Files::new(mounts), Sinks::new(output));
        let wasi = Wasi { files, sinks, deadline: None, random_reads: 0 };
        Self { wasi, account: Account::new(usize::MAX), memory: None }
    }
}

/// The part of it that WASI's functions work on.
#[derive(Debug)]
pub(crate) struct Wasi {
    pub(crate) files: Files,
    pub(crate) sinks: Sinks,
    /// When sleeping must end.
    pub(crate) deadline: Option<Instant>,
    /// How often the guest asked for randomness.
    pub(crate) random_reads: u64,
}

/// The guest ended itself.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the guest exited with status {0}")]
pub(crate) struct Exit(pub(crate) i32);
