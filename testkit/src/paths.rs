//! Where tests find what was built and installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

/// The root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let parent = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    parent.unwrap_or(Path::new("..")).to_owned()
}

/// A binary of this build: beside this program, or one directory up, as tests are. Only its name if it
/// was not built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let dirs = own.ancestors().skip(1).take(2);
    dirs.map(|dir| dir.join(name)).find(|path| path.exists()).unwrap_or_else(|| name.into())
}

/// The interpreter of the tests: `BELLJAR_TEST_PYTHON`, or the one that `make setup` installs.
#[must_use]
pub fn interpreter() -> PathBuf {
    let installed = || root().join(".belljar/venv/bin/python");
    std::env::var_os("BELLJAR_TEST_PYTHON").map_or_else(installed, PathBuf::from)
}

/// The packages of that interpreter, for the native runtime.
#[must_use]
pub fn site() -> PathBuf {
    let python = interpreter();
    let lib = python.ancestors().nth(2).unwrap_or(Path::new("")).join("lib");
    let versions = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let mut sites = versions.map(|version| version.path().join("site-packages"));
    sites.find(|site| site.is_dir()).unwrap_or(lib)
}

/// The other Pythons that `make pythons` has built executors for: versions, and interpreters with dill.
#[must_use]
pub fn other_pythons() -> Vec<(String, PathBuf)> {
    let name = |version: &str| format!("belljar-python{version}");
    installed().filter(|(version, _)| binary(&name(version)).is_absolute()).collect()
}

/// Those that have a guest.
///
/// # Errors
/// The guests cannot be listed.
pub fn other_pythons_with_guests() -> Result<Vec<(String, PathBuf)>> {
    let listed = Command::new(binary("belljar")).args(["guest", "list"]).output()?;
    let listed = String::from_utf8(listed.stdout)?;
    let guests: Vec<_> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    Ok(installed().filter(|(version, _)| guests.contains(&version.as_str())).collect())
}

/// The other Pythons that `make pythons` has installed dill for.
fn installed() -> impl Iterator<Item = (String, PathBuf)> {
    let made = root().join(".belljar/pythons");
    let dirs = std::fs::read_dir(&made).into_iter().flatten().flatten();
    let versions = dirs.filter_map(|dir| dir.file_name().into_string().ok());
    versions.map(move |version| (version.clone(), made.join(version).join("bin/python")))
}

/// The directory of the sandbox's guests, one below it for each Python.
#[must_use]
pub fn guests() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("BELLJAR_GUEST_DIR").map_or_else(
        || {
            let home = || PathBuf::from(variable("HOME").unwrap_or_default()).join(".cache");
            variable("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("belljar")
        },
        PathBuf::from,
    )
}
