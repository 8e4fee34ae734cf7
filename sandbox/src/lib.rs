//! The sandbox: Python functions in a WASI build of CPython inside wasmtime, a fresh interpreter for every
//! call. Usable alone; the binary `belljar-sandbox` puts it into a hardened child process.
//!
//! # Layout
//!
//! * [`image`]: the guest as it was built. [`snapshot`]: makes it of a linked module.
//! * [`engine`]: how wasmtime is set up, in two flavours. [`level`]: code for other machines.
//! * [`instance`]: the sandbox: a fresh interpreter, one call, the answer. `interpreter`: one of them.
//! * `memory`, `mapping`, `pagemap`: linear memories that become the image again after a call.
//! * [`warm`]: images of functions whose modules are imported. `delta`: room for them.
//! * `wasi`: the guest's only way out. [`grants`]: the directories that it may read.
//! * [`limits`]: memory and time of a call. [`answer`]: its outcome.
//! * [`session`]: calls that go on where the one before has ended.
//! * [`source`]: calls without any Python on the host's side.
//! * `reference`: the WASI functions alone, for the test in `reference/`.
//! * [`error`]: what can go wrong with the sandbox itself.

pub mod answer;
mod delta;
pub mod engine;
pub mod error;
pub mod grants;
pub mod image;
pub mod instance;
mod interpreter;
pub mod level;
pub mod limits;
mod mapping;
mod memory;
mod pagemap;
#[cfg(feature = "reference")]
pub mod reference;
pub mod session;
pub mod snapshot;
pub mod source;
pub mod warm;
mod wasi;

pub use answer::Answer;
pub use engine::{EngineConfig, Flavour};
pub use error::Error;
pub use grants::{GrantedAccess, HttpChannel, ProgressChannel};
pub use image::Image;
pub use instance::Sandbox;
pub use limits::Limits;
pub use pagemap::PAGEMAP_SCAN;
pub use warm::{Function, FunctionName};
pub use wasi::{Captured, Output};
