//! The guest's only way out: `wasi_snapshot_preview1`, as far as Python needs it here.
//!
//! Written here rather than taken from `wasmtime-wasi`, for three reasons: what is not here cannot be
//! reached (no socket, no process, no writing to the host); it never leaves the calling thread, so that the
//! process can forbid itself to start threads; and a call pays for nothing that it does not use.
//!
//! # Layout
//!
//! * [`calls`]: the functions, as wasmtime links them.
//! * [`context`]: what they work on.
//! * [`denied`]: notes what was refused.
//! * [`entry`]: what a descriptor is.
//! * [`files`]: descriptors and where paths lead. `moves`: bytes in and out of them.
//! * [`host`]: granted directories, read-only.
//! * [`http`]: the device for HTTP requests.
//! * [`progress`]: the device on which a call says how far it has come.
//! * [`scratch`]: a `/tmp` in memory.
//! * [`sources`]: which files imports looked at.
//! * [`time`]: clocks and sleep.
//! * [`output`]: where standard output and error go.
//! * [`guest`]: the guest's memory.
//! * [`errno`]: error numbers.

mod calls;
mod context;
mod denied;
mod entry;
mod errno;
mod files;
mod guest;
mod host;
mod http;
mod moves;
mod output;
mod progress;
mod scratch;
mod sources;
mod time;

pub(crate) use calls::link;
pub(crate) use context::{Exit, Host};
pub(crate) use errno::Errno;
pub use output::{Captured, Output};
pub(crate) use sources::Sources;
