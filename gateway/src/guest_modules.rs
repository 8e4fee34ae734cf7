//! Which modules a sandboxed function can have, as far as that is sure before it runs.
//!
//! A name is refused if the guest's standard library lacks it, or if it is a package known to be
//! compiled for the machine that the guest has not linked. Any other may lie on `--python-path`. A module that imports in the guest
//! and cannot do all of its work there (`socket`, `threading`, `subprocess`) passes: libraries import
//! these as a matter of course, and what fails then says so itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use belljar_core::guest::GuestModules;
use belljar_core::task::PythonVersion;
use belljar_store::{Store, StoreError};

use crate::error::ApiError;
use crate::problem::{Problem, shown};

/// How long a list is cached.
const FRESH: Duration = Duration::from_secs(1);

/// What the guests of live workers lack, as the store has it.
#[derive(Default)]
pub(crate) struct GuestCache(Mutex<Option<(Instant, Arc<[GuestModules]>)>>);

/// The guests of live workers, and the one that a function is for.
#[derive(Clone)]
pub(crate) struct Guests {
    all: Arc<[GuestModules]>,
    pub(crate) guest: GuestModules,
}

impl GuestCache {
    /// The guest of `python`, beside the others. Where no worker has said what it is, the store is asked each time.
    pub(crate) async fn get(
        &self,
        store: &Store,
        python: PythonVersion,
    ) -> Result<Option<Guests>, StoreError> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read_at, guests)) = cached
            && read_at.elapsed() < FRESH
            && let Some(guest) = find(&guests, python)
        {
            return Ok(Some(guest));
        }
        let guests: Arc<[GuestModules]> = store.guests().await?.into();
        let entry = Some((Instant::now(), Arc::clone(&guests)));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = entry;
        Ok(find(&guests, python))
    }
}

fn find(all: &Arc<[GuestModules]>, python: PythonVersion) -> Option<Guests> {
    let guest = all.iter().find(|guest| guest.python == python)?.clone();
    Some(Guests { all: Arc::clone(all), guest })
}

/// Packages that are compiled for the machine and have no pure form, so that a guest has them only where it says so. In order.
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

/// Refuses a function that needs one of `modules` and surely cannot have it in its guest.
pub(crate) fn check(guests: &Guests, name: &str, modules: &[String]) -> Result<(), ApiError> {
    let packages: BTreeSet<_> = modules.iter().filter_map(|name| name.split('.').next()).collect();
    let problems: Vec<_> =
        packages.into_iter().filter_map(|package| problem(guests, name, package)).collect();
    if problems.is_empty() { Ok(()) } else { Err(ApiError::NotInSandbox(problems)) }
}

/// Whether the guest has the package that is imported as `module`. Packages are listed by the names that they are installed by.
fn has(guest: &GuestModules, module: &str) -> bool {
    let package = if module == "PIL" { "pillow" } else { module };
    guest.added.contains_key(package)
}

fn problem(Guests { all, guest }: &Guests, name: &str, package: &str) -> Option<Problem> {
    let why = if guest.missing.iter().any(|missing| missing == package) {
        format!("it is not part of its Python {}", guest.python)
    } else if COMPILED.binary_search(&package).is_ok() && !has(guest, package) {
        "its compiled code cannot be loaded there".to_owned()
    } else {
        return None;
    };
    let way = match all.iter().find(|other| has(other, package)) {
        Some(other) => {
            format!("That of Python {} has it: send the function from there", other.python)
        }
        None => "Do without it".to_owned(),
    };
    let msg = format!(
        "`{}` needs `{package}`, which the sandbox does not have: {why}. {way}, or, only for \
         code that you trust, register it with \"runtime\": \"native\"",
        shown(name)
    );
    Some(Problem::body("not_in_sandbox", "payload", msg))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const OTHER: PythonVersion = PythonVersion { major: 3, minor: 13 };

    /// What is said about a function that needs `modules`.
    fn refused(modules: &[&str]) -> Vec<String> {
        let modules: Vec<_> = modules.iter().map(|&name| name.to_owned()).collect();
        let missing = ["ctypes", "sqlite3"].map(str::to_owned).to_vec();
        let added = [("pandas", "3.1.1"), ("pillow", "13.0.0")];
        let added = added.map(|(name, version)| (name.to_owned(), version.to_owned())).into();
        let python = PythonVersion::default();
        let guest = GuestModules { python, missing: missing.clone(), added };
        let has_torch = BTreeMap::from([("torch".to_owned(), "2".to_owned())]);
        let other = GuestModules { python: OTHER, missing, added: has_torch };
        let guests = Guests { all: [guest.clone(), other].into(), guest };
        match check(&guests, "f", &modules) {
            Err(ApiError::NotInSandbox(problems)) => {
                problems.into_iter().map(|problem| problem.msg.into_owned()).collect()
            }
            Err(error) => panic!("{error}"),
            Ok(()) => Vec::new(),
        }
    }

    #[test]
    fn the_list_is_in_order() {
        assert!(COMPILED.is_sorted());
    }

    #[test]
    fn what_cannot_work_is_named_once_with_the_way_out() {
        let said = refused(&["json", "scipy.linalg", "sqlite3", "scipy", "ctypes.util"]);
        assert_eq!(said.len(), 3, "{said:?}");
        for (sentence, name) in said.iter().zip(["`ctypes`", "`scipy`", "`sqlite3`"]) {
            assert!(sentence.contains(name), "{sentence}");
            assert!(sentence.contains("\"runtime\": \"native\""), "{sentence}");
        }
    }

    #[test]
    fn a_guest_that_has_it_is_named() {
        let said = refused(&["torch"]).join("");
        assert!(said.contains("Python 3.13 has it"), "{said}");
    }

    #[test]
    fn what_may_work_passes() {
        let imported = ["dill._dill", "socket", "threading", "subprocess", "multiprocessing.pool"];
        assert_eq!(refused(&imported), [""; 0]);
        assert_eq!(
            refused(&[
                "mine",
                "numpy",
                "pandas.api",
                "PIL.Image",
                "scipy_like",
                "yaml",
                "__main__",
                ""
            ]),
            [""; 0]
        );
    }
}
