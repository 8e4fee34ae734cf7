//! The installation that this binary is part of, and what it can run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use belljar_core::task::{PythonVersion, TaskClass};
use belljar_worker::error::NotInstalled;
use belljar_worker::executor::{Executor, RUNTIMES};
use belljar_worker::install::Installation;

use crate::args::{ExecutorArgs, Runtimes};
use crate::grants;

/// This program's own file, for the processes that `up` starts.
pub(crate) fn own_binary() -> Result<PathBuf> {
    std::env::current_exe().context("the path of this program cannot be found")
}

/// The directory of this program and those beside it.
fn programs() -> Result<PathBuf> {
    Ok(own_binary()?.with_file_name(""))
}

/// A program beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let installation = Installation { programs: programs()?, ..Installation::default() };
    Ok(installation.program(name)?)
}

/// The installation, with what `args` choose.
pub(crate) fn installation(args: &ExecutorArgs) -> Result<Installation> {
    Ok(Installation {
        programs: programs()?,
        site: args.site.clone(),
        guests: guest_dir(args.guest_dir.as_deref()).ok(),
        python_path: args.python_path.clone(),
        grant_policy: grants::grant_policy(args)?,
    })
}

/// The executor of each class that `runtimes` may have, or what it lacks; the default Python first.
pub(crate) fn executors(
    runtimes: Runtimes,
    installation: &Installation,
) -> Vec<(TaskClass, Result<Arc<dyn Executor>, NotInstalled>)> {
    let wanted = RUNTIMES.iter().filter(|support| runtimes.contains(support.runtime));
    let mut executors: Vec<_> = wanted
        .flat_map(|support| {
            (support.pythons)(installation).into_iter().map(|python| {
                let class = TaskClass { runtime: support.runtime, python };
                (class, (support.executor)(installation, python))
            })
        })
        .collect();
    executors.sort_by_key(|(class, _)| class.python != PythonVersion::default());
    executors
}

/// The default native interpreter's site: the given one, or that of the installation.
pub(crate) fn site(given: Option<&Path>) -> Result<PathBuf> {
    let site = given.map(Path::to_path_buf);
    let installation = Installation { programs: programs()?, site, ..Installation::default() };
    Ok(installation.site_of(PythonVersion::default())?)
}

/// The Python that the site belongs to, with the packages that clients need.
pub(crate) fn python(given: Option<&Path>) -> Result<PathBuf> {
    let site = site(given)?;
    let mut above = site.ancestors().map(|dir| dir.join("bin/python"));
    above.find(|path| path.is_file()).with_context(|| {
        format!("`{}` belongs to no Python\n  hint: --site of a venv", site.display())
    })
}

/// The directory of the guests: given, else in the user's cache.
pub(crate) fn guest_dir(given: Option<&Path>) -> Result<PathBuf> {
    let cache = || {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = || variable("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let cache = variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        cache.map(|dir| dir.join("belljar"))
    };
    given.map(Path::to_path_buf).or_else(cache).context("no HOME, and no --guest-dir")
}
