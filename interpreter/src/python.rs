//! Starts CPython: isolated from environment and user directories, with the paths that the worker
//! named, and `runner.py` compiled in.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::args::Args;
use crate::{progress, sys, watch};

const RUNNER: &str = include_str!("../../runner/runner.py");
const PROGRESS: &str = include_str!("../../runner/runner_progress.py");
const PICKLES: &str = include_str!("../../runner/runner_pickles.py");
/// The modules that put the interpreter back in order, each after those that it imports.
const RESET: [(&CStr, &str); 3] = [
    (c"belljar_entries", include_str!("reset/entries.py")),
    (c"belljar_settings", include_str!("reset/settings.py")),
    (c"belljar_reset", include_str!("reset/reset.py")),
];

/// Why there is no interpreter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// CPython itself did not come up.
    #[error("failed to initialise CPython: {0}")]
    Initialise(String),
    /// It came up, but what it runs did not.
    #[error(
        "failed to prepare the interpreter (are dill and cloudpickle in the --site directory?)"
    )]
    Prepare(#[from] PyErr),
}

/// The functions that a call goes through, and what the interpreter says of itself.
pub(crate) struct Interpreter {
    /// `runner.run(code, args)`.
    pub(crate) run: Py<PyAny>,
    /// `reset.flush()`: hands on what the call has written.
    pub(crate) flush: Py<PyAny>,
    /// `reset.reset()`: puts back what the call changed; a text where it cannot.
    pub(crate) reset: Py<PyAny>,
    /// The full version.
    pub(crate) python: String,
    /// The version of dill.
    pub(crate) dill: String,
}

/// Starts the interpreter of this process; this thread holds its lock from then on.
pub(crate) fn start(args: &Args) -> Result<Interpreter, StartError> {
    initialise()?;
    Ok(Python::attach(|py| prepare(py, args))?)
}

fn prepare(py: Python<'_>, args: &Args) -> PyResult<Interpreter> {
    let sys = py.import("sys")?;
    let path: Bound<'_, PyList> = sys.getattr("path")?.cast_into()?;
    if let Some(site) = &args.site {
        if let Some(python) = python_of(site) {
            // What `subprocess` and `multiprocessing` start where a function says "this Python".
            sys.setattr("executable", python.as_os_str())?;
        }
        let site_module = py.import("site")?;
        // `exit`, `quit` and `help` exist in every Python that a function was written in.
        site_module.call_method0("setquit")?;
        site_module.call_method0("sethelper")?;
        site_module.call_method1("addsitedir", (site.as_os_str(),))?;
    }
    PyModule::from_code(py, &source(PICKLES), c"runner_pickles.py", c"runner_pickles")?;
    sys.getattr("modules")?.set_item("belljar_host", progress::module(py)?)?;
    PyModule::from_code(py, &source(PROGRESS), c"runner_progress.py", c"runner_progress")?;
    let runner = PyModule::from_code(py, &source(RUNNER), c"runner.py", c"runner")?;
    let dill = py.import("dill")?.getattr("__version__")?.extract()?;
    py.import("cloudpickle")?;
    // As PYTHONPATH would: before the standard library. Only now, so that no module there can stand
    // in for one that belljar itself needs.
    for (index, directory) in args.python_path.iter().enumerate() {
        path.insert(index, directory.as_os_str())?;
    }
    // Last: it takes what it finds as the baseline.
    sys.getattr("modules")?.set_item("belljar_watch", watch::module(py)?)?;
    for (name, text) in RESET {
        PyModule::from_code(py, &source(text), name, name)?;
    }
    let reset = py.import("belljar_reset")?;
    let deployed = args.python_path.iter().map(|directory| directory.as_os_str());
    reset.call_method1("start", (PyList::new(py, deployed)?,))?;
    let version = py.version_info();
    Ok(Interpreter {
        run: runner.getattr("run")?.unbind(),
        flush: reset.getattr("flush")?.unbind(),
        reset: reset.getattr("reset")?.unbind(),
        python: format!("{}.{}.{}", version.major, version.minor, version.patch),
        dill,
    })
}

#[expect(clippy::expect_used, reason = "our own source files hold no NUL")]
fn source(text: &str) -> CString {
    CString::new(text).expect("source without NUL")
}

/// The executable of the virtual environment whose site-packages this is.
fn python_of(site: &Path) -> Option<PathBuf> {
    // ENV/lib/python3.11/site-packages
    let python = site.ancestors().nth(3)?.join("bin/python");
    python.exists().then_some(python)
}

/// The directory that holds `lib/python3.x`, found from where libpython was loaded. Left to itself
/// CPython guesses from the location of our binary.
#[expect(clippy::fn_to_numeric_cast_any, reason = "the address of a function, to look it up")]
fn home() -> Option<PathBuf> {
    let library = sys::library_of(pyo3::ffi::Py_IsInitialized as *const ())?;
    let landmark = format!("lib/{}/os.py", library_version(&library)?);
    library.ancestors().find(|directory| directory.join(&landmark).is_file()).map(PathBuf::from)
}

/// `python3.11` of `libpython3.11.so.1.0`.
fn library_version(library: &Path) -> Option<String> {
    let name = library.file_name()?.to_str()?.strip_prefix("lib")?;
    name.split_once(".so").map(|(version, _)| version.to_owned())
}

#[expect(unsafe_code, reason = "CPython's initialisation is a C interface")]
fn initialise() -> Result<(), StartError> {
    use pyo3::ffi;
    let failed = |status: &ffi::PyStatus| {
        // SAFETY: a status's message is null or a static string.
        let message = unsafe {
            (!status.err_msg.is_null()).then(|| std::ffi::CStr::from_ptr(status.err_msg))
        };
        let message = message.map(|text| text.to_string_lossy().into_owned());
        StartError::Initialise(message.unwrap_or_default())
    };
    // SAFETY: called once, before any other use of Python, by the only thread. The configurations
    // are initialised by CPython before a field is set and outlive their use.
    unsafe {
        let mut before: ffi::PyPreConfig = std::mem::zeroed();
        ffi::PyPreConfig_InitIsolatedConfig(&raw mut before);
        // The environment is empty, so that the locale would be ASCII.
        before.utf8_mode = 1;
        let status = ffi::Py_PreInitialize(&raw const before);
        if ffi::PyStatus_Exception(status) != 0 {
            return Err(failed(&status));
        }
        let mut config: ffi::PyConfig = std::mem::zeroed();
        ffi::PyConfig_InitIsolatedConfig(&raw mut config);
        config.site_import = 0;
        config.write_bytecode = 0;
        // As in a plain Python: SIGPIPE is an exception, SIGINT a KeyboardInterrupt.
        config.install_signal_handlers = 1;
        if let Some(home) = home()
            && let Ok(home) = CString::new(home.as_os_str().as_bytes())
        {
            ffi::PyConfig_SetBytesString(&raw mut config, &raw mut config.home, home.as_ptr());
        }
        let status = ffi::Py_InitializeFromConfig(&raw const config);
        ffi::PyConfig_Clear(&raw mut config);
        if ffi::PyStatus_Exception(status) != 0 {
            return Err(failed(&status));
        }
    }
    Ok(())
}
