//! What a call says of its progress: a frame to the worker, while the call runs.

use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use belljar_core::frame::{self, ChildReply};
use belljar_core::live::Progress;
use pyo3::prelude::*;

use crate::sys;

/// The worker. Never dropped: a function may have closed any descriptor.
static WORKER: OnceLock<UnixStream> = OnceLock::new();
/// The nonce of the call that runs, and the process that it runs in; no process between calls.
static NONCE: AtomicU64 = AtomicU64::new(0);
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// Progress is told on this socket.
pub(crate) fn tell_to(worker: UnixStream) {
    // Set once: there is one server.
    let _ = WORKER.set(worker);
}

/// A call begins in this process.
pub(crate) fn call_begins(nonce: u64) {
    NONCE.store(nonce, Ordering::Relaxed);
    PROCESS.store(sys::pid(), Ordering::Relaxed);
}

/// It has ended: what threads of it say later is nobody's.
pub(crate) fn call_ended() {
    PROCESS.store(0, Ordering::Relaxed);
}

/// The module that `runner_progress.py` finds.
pub(crate) fn module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let module = PyModule::new(py, "belljar_host")?;
    module.add_function(wrap_pyfunction!(tell_progress, &module)?)?;
    Ok(module)
}

/// Tells the worker. A process that the function forked says nothing: two that write at once would break the frames. Within a
/// process, the interpreter's lock keeps threads apart, and the answer too is written under it.
#[pyfunction]
fn tell_progress(done: f64, total: Option<f64>, note: String) {
    if PROCESS.load(Ordering::Relaxed) != sys::pid() {
        return;
    }
    if let (Some(mut worker), Some(progress)) = (WORKER.get(), Progress::new(done, total, note)) {
        // A worker that has gone is noticed at the answer.
        let reply = ChildReply::Progress(NONCE.load(Ordering::Relaxed), progress);
        let _ = frame::write(&mut worker, &reply);
    }
}
