//! The installation that this program is part of, and what it can run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use belljar_core::labels::Labels;
use belljar_core::task::{PythonVersion, TaskClass};
use belljar_worker::error::NotInstalled;
use belljar_worker::executor::{Executor, NativeExecutor, RUNTIMES};
use belljar_worker::install::Installation;
use belljar_worker::packages::PackageStore;

use crate::args::{ExecutorArgs, Runtimes};
use crate::directory::require_dir;
use crate::exit::{WithHint, hinted};
use crate::grants;
use crate::packaged;

/// The build of the guests, below a checkout.
pub(crate) const GUEST_BUILD: &str = "sandbox/guest/build.sh";

/// What to do where the kernel does not hold a sandbox.
pub(crate) const WALLS_REMEDY: &str = "boot with `landlock` in the list `lsm=` of the kernel's command line \
    (Linux 5.13 or later); for functions that you trust --allow-weak-sandbox serves it all the same";

/// This program's own file, for the processes that `up` starts.
pub(crate) fn own_binary() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find the path of this program")
}

/// The directory of this program and those beside it.
fn programs() -> Result<PathBuf> {
    Ok(own_binary()?.with_file_name(""))
}

/// The directory that this installation is below.
pub(crate) fn prefix() -> Result<PathBuf> {
    Ok(Installation { programs: programs()?, ..Installation::default() }.prefix())
}

/// The checkout that this program was built in; `None` for an installed program.
pub(crate) fn checkout() -> Option<PathBuf> {
    let own = own_binary().ok()?;
    let mut above = own.ancestors().skip(1);
    above.find(|dir| dir.join(GUEST_BUILD).is_file()).map(Path::to_path_buf)
}

/// A program beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let installation = Installation { programs: programs()?, ..Installation::default() };
    installation.program(name).map_err(with_hint)
}

/// The installation, with what `args` choose; fails for an option that names something that does not exist.
pub(crate) fn installation(args: &ExecutorArgs) -> Result<Installation> {
    for dir in &args.python_path {
        require_dir("--python-path", dir)?;
    }
    if let Some(site) = &args.site {
        require_dir("--site", site)?;
    }
    let installation = Installation {
        programs: programs()?,
        site: args.site.clone(),
        guests: guests(args.guest_dir.as_deref()),
        python_path: args.python_path.clone(),
        allow_weak_sandbox: args.allow_weak_sandbox,
        warm_mb: args.warm_mb,
        grant_policy: grants::grant_policy(args)?,
        http: grants::http_proxy(args)?,
        packages: None,
        labels: Labels::NONE,
        max_result_mb: args.max_result_mb,
        blobs: None,
    };
    if args.site.is_some() {
        installation.site_of(PythonVersion::default()).map_err(with_hint)?;
    }
    Ok(installation)
}

/// An executor, or what it lacks.
pub(crate) type Found = Result<Arc<dyn Executor>, NotInstalled>;

/// The executor of each class that `runtimes` may have; the default Python first.
pub(crate) fn executors(
    runtimes: Runtimes,
    installation: &Installation,
) -> Vec<(TaskClass, Found)> {
    let wanted = RUNTIMES.iter().filter(|support| runtimes.contains(support.runtime));
    let mut executors: Vec<_> = wanted
        .flat_map(|support| {
            (support.pythons)(installation).into_iter().map(|python| {
                let class = TaskClass::new(support.runtime, python);
                (class, (support.executor)(installation, python))
            })
        })
        .collect();
    executors.sort_by_key(|(class, _)| class.python != PythonVersion::default());
    executors
}

/// The site of the default native interpreter: the given one, or that of the installation.
fn site(given: Option<&Path>) -> Result<PathBuf> {
    let site = given.map(Path::to_path_buf);
    let installation = Installation { programs: programs()?, site, ..Installation::default() };
    installation.site_of(PythonVersion::default()).map_err(with_hint)
}

/// A Python with the packages that clients need: the one that this program was installed with, else the one that
/// the site belongs to.
pub(crate) fn python(given: Option<&Path>) -> Result<PathBuf> {
    let beside = programs()?.join("python");
    if given.is_none() && beside.is_file() {
        return Ok(beside);
    }
    let site = site(given)?;
    let names = ["bin/python", "bin/python3"];
    let mut above = site.ancestors().flat_map(|dir| names.map(|name| dir.join(name)));
    above
        .find(|path| path.is_file())
        .with_context(|| format!("`{}` belongs to no Python", site.display()))
        .hint("name the site-packages of a virtual environment with --site DIR")
}

/// A Python with pip, for what functions require.
pub(crate) fn pip(site: Option<&Path>) -> PathBuf {
    python(site).unwrap_or_else(|_| "python3".into())
}

/// What installs packages from `index` that functions require.
pub(crate) fn packages(
    index: &str,
    args: &ExecutorArgs,
    installation: &Installation,
) -> Result<PackageStore> {
    let in_cache = || user_cache().map(|cache| cache.join("requirements"));
    let dir = args.requirements_dir.clone().or_else(in_cache);
    let dir = dir.context("the directory for required packages is unknown, as HOME is not set");
    let dir = std::path::absolute(dir.hint("--requirements-dir DIR names it")?)?;
    let native = installation.pythons_in(&installation.programs, NativeExecutor::PROGRAM);
    let pythons =
        native.into_iter().filter_map(|python| Some((python, installation.pip_of(python)?)));
    Ok(PackageStore::new(index.to_owned(), dir, pythons.collect(), pip(args.site.as_deref())))
}

/// The user's cache for belljar, where the user has a home.
fn user_cache() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.map(|dir| dir.join("belljar"))
}

/// The directory of the guests: given, else of the installation, else in the user's cache.
pub(crate) fn guest_dir(given: Option<&Path>) -> Result<PathBuf> {
    let cache = || {
        user_cache()
            .context("the directory of the guests is unknown, as HOME is not set")
            .hint("--guest-dir DIR names it")
    };
    if let Some(given) = given {
        return Ok(given.to_path_buf());
    }
    let installation = Installation { programs: programs()?, ..Installation::default() };
    packaged::find(&installation.packaged_guests(), cache)?.map_or_else(cache, Ok)
}

/// The same, for what also runs without guests.
fn guests(given: Option<&Path>) -> Option<PathBuf> {
    guest_dir(given).inspect_err(|error| tracing::debug!("{error:#}")).ok()
}

/// What is missing, with the way to install it: from the checkout of this program, or as an installation has
/// it.
pub(crate) fn with_hint(missing: NotInstalled) -> anyhow::Error {
    let (in_checkout, installed) = match &missing {
        NotInstalled::Program(_) => {
            ("`make build` builds it".to_owned(), "install it beside `belljar`")
        }
        NotInstalled::Site => (
            "`make setup` makes one, or name one with --site DIR".to_owned(),
            "`pip install --target DIR dill cloudpickle` makes one, and --site DIR names it",
        ),
        NotInstalled::FurtherSite(_) => {
            ("`make pythons` makes one".to_owned(), "install one as PREFIX/share/belljar/site-X.Y")
        }
        NotInstalled::Dill(_) => (
            "`pip install --target DIR dill cloudpickle` makes such a directory".to_owned(),
            "`pip install --target DIR dill cloudpickle` makes such a directory",
        ),
        NotInstalled::Library { .. } => (
            "`make pythons` builds it for a Python that is there".to_owned(),
            "install that Python with its library (in Debian, the package libpythonX.Y), or use --runtime sandbox",
        ),
        NotInstalled::Guest { python, .. } => (
            format!("`make guest MINOR={python}` builds it"),
            "--guest-dir DIR names the directory of the guests",
        ),
        NotInstalled::Walls(_) => (WALLS_REMEDY.to_owned(), WALLS_REMEDY),
        NotInstalled::GuestDir | NotInstalled::PythonPath { .. } => return missing.into(),
    };
    let hint = if checkout().is_some() { in_checkout } else { installed.to_owned() };
    hinted(anyhow!(missing), hint)
}
