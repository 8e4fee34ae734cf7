//! The loop: a call in, its end out, until the worker hangs up.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;

use belljar_core::files::CallFiles;
use belljar_core::frame::{self, Call, ChildReply, Done, FrameError, Ready};
use belljar_core::limits::MAX_INLINE_RESULT_BYTES;
use belljar_core::outcome::{Failure, FailureKind, Phases};
use belljar_core::task::CodeHash;
use bytes::Bytes;
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::files;
use crate::intercept;
use crate::memory::Memory;
use crate::process_state::{Baseline, move_up};
use crate::progress;
use crate::python::Interpreter;
use crate::sys;

/// The worker broke the protocol, such as by naming code that it never sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The socket failed or what came over it is no call.
    #[error("failed to exchange frames with the worker: {0}")]
    Frame(#[from] FrameError),
    /// A call by a hash of which the code was never sent.
    #[error("the worker never sent the code {0}")]
    UnknownCode(CodeHash),
    /// The process cannot be measured or limited.
    #[error("failed to limit memory: {0}")]
    Memory(#[from] io::Error),
}

/// One read of the socket: a usual call in one piece.
const INBOX_BYTES: usize = 64 << 10;

/// One interpreter at the worker's service.
pub(crate) struct Server {
    socket: UnixStream,
    reader: BufReader<UnixStream>,
    interpreter: Interpreter,
    memory: Memory,
    baseline: Baseline,
    codes: HashMap<CodeHash, Py<PyBytes>>,
}

/// What `runner.run` returns: whether it went well, the pickle, the failure's kind, message and
/// traceback, and the microseconds of decoding, calling and encoding.
type Answer<'py> = (bool, Bound<'py, PyBytes>, Text, Text, Text, u64, u64, u64);

/// A text of Python's, which may hold halves of surrogate pairs: these are written as escapes.
struct Text(String);

impl<'py> FromPyObject<'_, 'py> for Text {
    type Error = PyErr;

    fn extract(text: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(text) = text.extract() {
            return Ok(Self(text));
        }
        let bytes = text.call_method1("encode", ("utf-8", "backslashreplace"))?;
        Ok(Self(String::from_utf8_lossy(bytes.cast::<PyBytes>()?.as_bytes()).into_owned()))
    }
}

impl Server {
    /// A server of the worker at the other end of `socket`.
    pub(crate) fn new(
        socket: UnixStream,
        interpreter: Interpreter,
        memory: Memory,
        baseline: Baseline,
    ) -> io::Result<Self> {
        progress::tell_to(UnixStream::from(move_up(&socket)?));
        let reader = UnixStream::from(move_up(&socket)?);
        let reader = BufReader::with_capacity(INBOX_BYTES, reader);
        Ok(Self { socket, reader, interpreter, memory, baseline, codes: HashMap::new() })
    }

    /// Serves until the worker hangs up.
    pub(crate) fn run(&mut self, py: Python<'_>) -> Result<(), ServeError> {
        let process = sys::pid();
        let ready =
            Ready { python: self.interpreter.python.clone(), dill: self.interpreter.dill.clone() };
        frame::write(&mut self.socket, &ChildReply::Ready(ready))?;
        while let Some(mut call) = frame::read::<Call>(&mut self.reader)? {
            if call.evict {
                self.codes.clear();
            }
            let hash = call.invocation.spec.code;
            if let Some(code) = &call.invocation.code {
                self.codes.insert(hash, PyBytes::new(py, code).unbind());
            }
            let code = self.codes.get(&hash).ok_or(ServeError::UnknownCode(hash))?;
            let code = code.clone_ref(py).into_bound(py);
            let (done, kept) = self.call(py, &code, &mut call)?;
            if sys::pid() != process {
                // The function forked and this copy came back too: its answer is nobody's.
                sys::exit(0);
            }
            frame::write_done(&mut self.socket, done.within(call.max_result_bytes))?;
            // While the worker is busy with the answer.
            if let Some(left) = kept.or_else(|| self.reset(py)) {
                return Ok(frame::write(&mut self.socket, &ChildReply::LeftBehind(left))?);
            }
        }
        Ok(())
    }

    /// Runs a call. Says also what it keeps, where that is too much.
    fn call(
        &mut self,
        py: Python<'_>,
        code: &Bound<'_, PyBytes>,
        call: &mut Call,
    ) -> Result<(Done, Option<String>), ServeError> {
        let call_bytes = call.invocation.args.len() + call.invocation.code_bytes();
        let (files, args) = {
            // Not kept while the call runs: it may be large.
            let args = std::mem::take(&mut call.invocation.args);
            CallFiles::open(&args).map_err(FrameError::from)?
        };
        let files = files.as_ref().zip(call.folder.as_deref());
        if let Some((files, folder)) = files
            && let Err(failure) = files::give(files, folder)
        {
            return Ok((Done::failed(call.nonce, failure), None));
        }
        let args = to_python(py, args);
        let env = call.granted.as_ref().map(|granted| environment(py, &granted.env));
        self.memory.limit(call.invocation.spec.limits.memory_mb, call_bytes)?;
        progress::call_begins(call.nonce);
        let answer = in_new_context(py, || self.interpreter.run.bind(py).call1((code, args, env)));
        progress::call_ended();
        let used = self.memory.release()?;
        let (mut result, mut phases) =
            match answer.and_then(|answer| answer.extract::<Answer<'_>>()) {
                Ok((ok, pickle, kind, message, traceback, decode_us, call_us, encode_us)) => {
                    let (Text(kind), Text(message), Text(traceback)) = (kind, message, traceback);
                    let pickle = to_rust(&pickle);
                    let phases = Phases { decode_us, call_us, encode_us, ..Phases::default() };
                    let failure =
                        |exception| Failure { kind: kind_of(&kind), exception, message, traceback };
                    (if ok { Ok(pickle) } else { Err(failure(pickle)) }, phases)
                }
                Err(error) => (Err(beyond_runner(py, &error)), Phases::default()),
            };
        phases.cpu_us = used.cpu_us;
        // What the call wrote belongs to its answer.
        let flushed = self.interpreter.flush.bind(py).call0();
        sys::flush_c_streams();
        let kept = flushed.err().map(|error| broken(&error)).or(used.kept);
        let mut left = Vec::new();
        if let Some((files, folder)) = files {
            let most = call.max_result_bytes.min(MAX_INLINE_RESULT_BYTES);
            match files::take(files, folder, most) {
                Ok(files) => left = files,
                Err(failure) => result = result.and(Err(failure)),
            }
        }
        let peak_memory_bytes = used.peak;
        let nonce = call.nonce;
        let denied = Vec::new();
        Ok((Done { nonce, result, phases, peak_memory_bytes, files: left, denied }, kept))
    }

    /// Puts back what the last call changed. Says what it left behind that cannot be put back.
    fn reset(&self, py: Python<'_>) -> Option<String> {
        let changed = intercept::called();
        if changed {
            self.baseline.restore_environment();
        }
        let reset = self.interpreter.reset.bind(py).call0();
        let left = reset.and_then(|left| left.extract::<Option<String>>());
        let inside = left.unwrap_or_else(|error| Some(broken(&error)));
        inside.or_else(|| self.baseline.restore(changed))
    }
}

fn to_python(py: Python<'_>, bytes: Bytes) -> Bound<'_, PyBytes> {
    PyBytes::new(py, &bytes)
}

/// The bytes of a pickle; of a long one without a copy.
fn to_rust(pickle: &Bound<'_, PyBytes>) -> Bytes {
    const COPIED_BYTES: usize = 1 << 20;
    match pickle.as_bytes() {
        bytes if bytes.len() <= COPIED_BYTES => Bytes::copy_from_slice(bytes),
        _ => Bytes::from_owner(PyBackedBytes::from(pickle.clone())),
    }
}

/// Calls `body` with context variables of its own, such as the context of decimal arithmetic.
#[expect(unsafe_code, reason = "contexts have no wrapper")]
fn in_new_context<T>(py: Python<'_>, body: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    // SAFETY: the interpreter's lock is held, and a new context is entered nowhere else.
    unsafe {
        let context = Bound::from_owned_ptr_or_err(py, ffi::PyContext_New())?;
        if ffi::PyContext_Enter(context.as_ptr()) != 0 {
            return Err(PyErr::fetch(py));
        }
        let result = body();
        // It fails where the function has entered another and not left it: that one is left for good.
        if ffi::PyContext_Exit(context.as_ptr()) != 0 {
            drop(PyErr::take(py));
        }
        result
    }
}

/// Variables as the runner takes them: `NAME=VALUE`, a zero byte between two.
fn environment<'py>(py: Python<'py>, env: &[(String, String)]) -> Bound<'py, PyBytes> {
    let entries: Vec<_> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    PyBytes::new(py, entries.join("\0").as_bytes())
}

fn broken(error: &PyErr) -> String {
    format!("a broken interpreter: {error}")
}

fn kind_of(word: &str) -> FailureKind {
    match word {
        "decode" => FailureKind::Decode,
        "encode" => FailureKind::Encode,
        "memory" => FailureKind::Memory,
        "recursion" => FailureKind::Recursion,
        _ => FailureKind::Exception,
    }
}

/// An exception that the runner could not treat: there was no memory left to do so, or a signal
/// handler of the function raised while it did.
fn beyond_runner(py: Python<'_>, error: &PyErr) -> Failure {
    let kind = match error.is_instance_of::<PyMemoryError>(py) {
        true => FailureKind::Memory,
        false => FailureKind::Exception,
    };
    Failure::by_platform(kind, error.to_string())
}
