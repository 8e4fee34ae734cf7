//! Finds the parts of an installation: the interpreter binary beside this one, and the directory with
//! dill that it needs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use belljar_core::task::PythonVersion;

use crate::args::ExecutorArgs;

/// The file that shows a directory to be the native interpreter's site.
const SITE_MARK: &str = "dill/__init__.py";
/// Where `make setup` leaves it, below the directory that one works in.
const SITE_IN_CHECKOUT: &str = ".belljar/venv/lib/python3.11/site-packages";
/// Where a package leaves it, below the installation's prefix.
const SITE_IN_PREFIX: &str = "share/belljar/site";

/// This program's own file, for the processes that `up` starts.
pub(crate) fn own_binary() -> Result<PathBuf> {
    std::env::current_exe().context("the path of this program cannot be found")
}

/// A binary that is installed beside this one.
pub(crate) fn sibling(name: &str) -> Result<PathBuf> {
    let path = own_binary()?.with_file_name(name);
    if !path.is_file() {
        bail!("`{}` is missing\n  hint: `make build` builds it", path.display());
    }
    Ok(path)
}

/// The native interpreter's site: given, or found in the checkout or installation that this binary is
/// part of, or below the working directory.
pub(crate) fn site(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(site) = given {
        if !site.join(SITE_MARK).is_file() {
            bail!(
                "`{}` holds no dill\n  hint: pip install --target DIR dill cloudpickle",
                site.display()
            );
        }
        return Ok(site.to_path_buf());
    }
    let own = own_binary()?;
    let above = own.ancestors().skip(1).take(4);
    let near = above.flat_map(|dir| [dir.join(SITE_IN_CHECKOUT), dir.join(SITE_IN_PREFIX)]);
    let mut all = near.chain([Path::new(SITE_IN_CHECKOUT).to_path_buf()]);
    all.find(|dir| dir.join(SITE_MARK).is_file()).context(
        "no directory with dill for the native interpreter was found\n  \
         hint: `make setup` makes one, or name one with --site DIR",
    )
}

/// The Python that the site belongs to, with the packages that clients need.
pub(crate) fn python(given: Option<&Path>) -> Result<PathBuf> {
    let site = site(given)?;
    let mut above = site.ancestors().map(|dir| dir.join("bin/python"));
    above.find(|path| path.is_file()).with_context(|| {
        format!("`{}` belongs to no Python\n  hint: --site of a venv", site.display())
    })
}

/// The guest of one Python: below the given directory, else where `make guest` leaves it.
pub(crate) fn guest(args: &ExecutorArgs, python: PythonVersion) -> Result<PathBuf> {
    let guest = guest_dir(args.guest_dir.as_deref())?.join(python.to_string());
    // Children run elsewhere, and the link may be moved to a newer guest while they do.
    std::fs::canonicalize(&guest).with_context(|| {
        format!("no guest at `{}`\n  hint: `make guest` builds it", guest.display())
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
