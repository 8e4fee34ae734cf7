//! Finds the parts of an installation: the interpreter binaries beside this one, and the directories with
//! dill that they need.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use belljar_core::task::{PythonVersion, Runtime, TaskClass};

use crate::args::{ExecutorArgs, Runtimes};

/// The file that shows a directory to be the native interpreter's site.
const SITE_MARK: &str = "dill/__init__.py";
/// The binary of the native runtime; that of a further Python ends with its version.
const INTERPRETER: &str = "belljar-python";

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

/// Which Pythons the native runtime has here: the usual one, and those whose interpreters lie beside it.
pub(crate) fn pythons() -> Vec<PythonVersion> {
    let own = own_binary().unwrap_or_default();
    named_in(own.parent().unwrap_or(&own), INTERPRETER)
}

/// Which Pythons the sandbox has here: the usual one, and those whose guests lie beside its.
pub(crate) fn guests(args: &ExecutorArgs) -> Vec<PythonVersion> {
    named_in(&guest_dir(args.guest_dir.as_deref()).unwrap_or_default(), "")
}

/// The usual Python, then those that entries of `dir` are named after, each behind the same `prefix`.
fn named_in(dir: &Path, prefix: &str) -> Vec<PythonVersion> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let version = |name: &str| name.strip_prefix(prefix)?.parse::<PythonVersion>().ok();
    let mut further: Vec<_> =
        entries.filter_map(|entry| version(entry.file_name().to_str()?)).collect();
    further.sort_unstable();
    std::iter::once(PythonVersion::default())
        .chain(further.into_iter().filter(|python| *python != PythonVersion::default()))
        .collect()
}

/// What could be served here by these runtimes, the usual Python first.
pub(crate) fn classes(runtimes: Runtimes, args: &ExecutorArgs) -> Vec<TaskClass> {
    let native = pythons().into_iter().map(|python| TaskClass { runtime: Runtime::Native, python });
    let sandbox =
        guests(args).into_iter().map(|python| TaskClass { runtime: Runtime::Sandbox, python });
    let mut classes: Vec<_> = native.chain(sandbox).collect();
    classes.retain(|class| runtimes.contains(class.runtime));
    classes.sort_by_key(|class| class.python != PythonVersion::default());
    classes
}

/// The native interpreter of a Python.
pub(crate) fn interpreter(python: PythonVersion) -> Result<PathBuf> {
    if python == PythonVersion::default() {
        sibling(INTERPRETER)
    } else {
        sibling(&format!("{INTERPRETER}{python}"))
    }
}

/// The site of a native interpreter: that of the usual Python may be given.
pub(crate) fn site_of(python: PythonVersion, given: Option<&Path>) -> Result<PathBuf> {
    if python == PythonVersion::default() {
        return site(given);
    }
    let checkout = format!(".belljar/pythons/{python}/lib/python{python}/site-packages");
    find_site(&checkout, &format!("share/belljar/site-{python}")).with_context(|| {
        format!(
            "no directory with dill for Python {python} was found\n  hint: `make pythons` makes one"
        )
    })
}

/// The usual native interpreter's site: given, or found in the checkout or installation that this binary is
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
    let checkout = format!(".belljar/venv/lib/python{}/site-packages", PythonVersion::default());
    find_site(&checkout, "share/belljar/site").context(
        "no directory with dill for the native interpreter was found\n  \
         hint: `make setup` makes one, or name one with --site DIR",
    )
}

/// A site below the checkout or the prefix of the installation that this binary is part of, or below the
/// working directory.
fn find_site(in_checkout: &str, in_prefix: &str) -> Option<PathBuf> {
    let own = own_binary().ok()?;
    let above = own.ancestors().skip(1).take(4);
    let near = above.flat_map(|dir| [dir.join(in_checkout), dir.join(in_prefix)]);
    let mut all = near.chain([Path::new(in_checkout).to_path_buf()]);
    all.find(|dir| dir.join(SITE_MARK).is_file())
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
        format!("no guest at `{}`\n  hint: `make guest MINOR={python}` builds it", guest.display())
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
