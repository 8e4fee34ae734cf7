//! Which modules a sandboxed function can have, as far as that is sure before it runs.
//!
//! A name is refused if the guest's standard library lacks it, or if it is a package known to be
//! compiled for the machine. Any other may lie on `--python-path`. A module that imports in the guest
//! and cannot do all of its work there (`socket`, `threading`, `subprocess`) passes: libraries import
//! these as a matter of course, and what fails then says so itself.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use belljar_core::task::PythonVersion;
use serde::Deserialize;

use crate::error::ApiError;
use crate::problem::{Problem, shown};

/// What a guest said of its standard library when it was built.
#[derive(Debug, Default, Deserialize)]
struct Guest<'a> {
    /// What does not import there.
    #[serde(borrow)]
    missing: BTreeSet<&'a str>,
}

static GUEST_3_11: LazyLock<Guest<'static>> =
    LazyLock::new(|| read(include_str!("../../sandbox/guest/modules-3.11.json")));
static GUEST_3_13: LazyLock<Guest<'static>> =
    LazyLock::new(|| read(include_str!("../../sandbox/guest/modules-3.13.json")));

/// Nothing is refused if it cannot be read; a test sees that it can.
fn read(said: &str) -> Guest<'_> {
    serde_json::from_str(said).unwrap_or_default()
}

/// Packages that are compiled for the machine and have no pure form. In order.
const COMPILED: &[&str] = &[
    "Crypto",
    "MySQLdb",
    "PIL",
    "_cffi_backend",
    "asyncpg",
    "bcrypt",
    "cryptography",
    "cupy",
    "cv2",
    "duckdb",
    "gevent",
    "gmpy2",
    "greenlet",
    "grpc",
    "h5py",
    "jax",
    "jaxlib",
    "lightgbm",
    "llvmlite",
    "lxml",
    "matplotlib",
    "nacl",
    "netCDF4",
    "numba",
    "numpy",
    "orjson",
    "pandas",
    "polars",
    "psutil",
    "psycopg2",
    "pyarrow",
    "pycurl",
    "pydantic_core",
    "pyodbc",
    "pyproj",
    "rasterio",
    "rpds",
    "scipy",
    "shapely",
    "skimage",
    "sklearn",
    "spacy",
    "statsmodels",
    "tensorflow",
    "tokenizers",
    "torch",
    "torchvision",
    "uvloop",
    "xgboost",
    "zmq",
    "zstandard",
];

/// What the guest of one minor lacks; `None` for one that this gateway knows nothing of.
fn guest(python: PythonVersion) -> Option<&'static Guest<'static>> {
    match (python.major, python.minor) {
        (3, 11) => Some(&GUEST_3_11),
        (3, 13) => Some(&GUEST_3_13),
        _ => None,
    }
}

/// Refuses a function that needs one of `modules` and surely cannot have it in the guest of `python`.
pub(crate) fn check(python: PythonVersion, name: &str, modules: &[String]) -> Result<(), ApiError> {
    let Some(guest) = guest(python) else { return Ok(()) };
    let packages: BTreeSet<_> = modules.iter().filter_map(|name| name.split('.').next()).collect();
    let problems: Vec<_> =
        packages.into_iter().filter_map(|package| problem(guest, python, name, package)).collect();
    if problems.is_empty() { Ok(()) } else { Err(ApiError::NotInSandbox(problems)) }
}

fn problem(guest: &Guest<'_>, python: PythonVersion, name: &str, package: &str) -> Option<Problem> {
    let why = if guest.missing.contains(package) {
        format!("it is not part of its Python {python}")
    } else if COMPILED.binary_search(&package).is_ok() {
        "its compiled code cannot be loaded there".to_owned()
    } else {
        return None;
    };
    let msg = format!(
        "`{}` needs `{package}`, which the sandbox does not have: {why}. Do without it, or, only for \
         code that you trust, register it with \"runtime\": \"native\"",
        shown(name)
    );
    Some(Problem::body("not_in_sandbox", "payload", msg))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYTHON: PythonVersion = PythonVersion { major: 3, minor: 11 };

    /// What is said about a function that needs `modules`.
    fn refused(python: PythonVersion, modules: &[&str]) -> Vec<String> {
        let modules: Vec<_> = modules.iter().map(|&name| name.to_owned()).collect();
        match check(python, "f", &modules) {
            Err(ApiError::NotInSandbox(problems)) => {
                problems.into_iter().map(|problem| problem.msg.into_owned()).collect()
            }
            Err(error) => panic!("{error}"),
            Ok(()) => Vec::new(),
        }
    }

    #[test]
    fn the_lists_are_read_and_in_order() {
        assert!(GUEST_3_11.missing.contains("ctypes"));
        assert!(GUEST_3_13.missing.contains("ctypes"));
        assert!(COMPILED.is_sorted());
    }

    #[test]
    fn what_cannot_work_is_named_once_with_the_way_out() {
        let said = refused(PYTHON, &["json", "numpy.linalg", "sqlite3", "numpy", "ctypes.util"]);
        assert_eq!(said.len(), 3, "{said:?}");
        for (sentence, name) in said.iter().zip(["`ctypes`", "`numpy`", "`sqlite3`"]) {
            assert!(sentence.contains(name), "{sentence}");
            assert!(sentence.contains("\"runtime\": \"native\""), "{sentence}");
        }
    }

    #[test]
    fn what_may_work_passes() {
        let imported = ["dill._dill", "socket", "threading", "subprocess", "multiprocessing.pool"];
        assert_eq!(refused(PYTHON, &imported), [""; 0]);
        assert_eq!(refused(PYTHON, &["mine", "numpy_like", "yaml", "__main__", ""]), [""; 0]);
        let unknown = PythonVersion { major: 3, minor: 14 };
        assert_eq!(refused(unknown, &["numpy", "ctypes"]), [""; 0]);
    }
}
