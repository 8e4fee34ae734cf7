//! Where the parts of an installation are: the programs beside `belljar`, the directories with dill for
//! native interpreters, the guests of the sandbox.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use belljar_core::grants::GrantPolicy;
use belljar_core::labels::Labels;
use belljar_core::limits::{MAX_INLINE_RESULT_MB, MAX_RESULT_MB};
use belljar_core::shared_blobs::SharedBlobs;
use belljar_core::task::PythonVersion;

use crate::child::ChildCommand;
use crate::error::NotInstalled;
use crate::http_proxy::HttpProxy;
use crate::packages::PackageStore;

/// The file that shows that a directory is a native interpreter's site.
const SITE_MARK: &str = "dill/__init__.py";
/// How far above the programs a checkout or a prefix may begin.
const ABOVE: usize = 4;
/// Where an installation has guests, below its prefix.
const PACKAGED_GUESTS: &str = "share/belljar/guests";

/// An installation, and what its operator chose for all executors.
#[derive(Debug, Clone, Default)]
pub struct Installation {
    /// The directory of the programs: that of `belljar`.
    pub programs: PathBuf,
    /// The site of the default Python, where it was given.
    pub site: Option<PathBuf>,
    /// The directory of the guests, one below it for each Python.
    pub guests: Option<PathBuf>,
    /// Directories that functions may import from.
    pub python_path: Vec<PathBuf>,
    /// Whether the sandbox is served where the kernel does not keep it from the files of its user.
    pub allow_weak_sandbox: bool,
    /// What each process of the sandbox may keep functions in that start warm, in MiB; 0 keeps none.
    pub warm_mb: u32,
    /// What functions may be granted.
    pub grant_policy: GrantPolicy,
    /// Makes the HTTP requests of sandboxed calls, where some are offered.
    pub http: Option<Arc<HttpProxy>>,
    /// Installs the packages that functions ask for, where that is offered.
    pub packages: Option<Arc<PackageStore>>,
    /// What this worker has beside them, for functions that ask for it.
    pub labels: Labels,
    /// The largest result in MiB; where it was not given, [`MAX_RESULT_MB`], or without a place for blobs
    /// [`MAX_INLINE_RESULT_MB`].
    pub max_result_mb: Option<u32>,
    /// The directory or bucket of blobs, where long results go.
    pub blobs: Option<SharedBlobs>,
}

impl Installation {
    /// The program `name`.
    ///
    /// # Errors
    /// It is not there.
    pub fn program(&self, name: &str) -> Result<PathBuf, NotInstalled> {
        let path = self.programs.join(name);
        if path.is_file() { Ok(path) } else { Err(NotInstalled::Program(path)) }
    }

    /// The Pythons that entries of `dir` are named after, each behind the same `prefix`; the default one
    /// is always there, and first.
    #[must_use]
    pub fn pythons_in(&self, dir: &Path, prefix: &str) -> Vec<PythonVersion> {
        let default = PythonVersion::default();
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let version = |name: &str| name.strip_prefix(prefix)?.parse::<PythonVersion>().ok();
        let mut others: Vec<_> =
            entries.filter_map(|entry| version(entry.file_name().to_str()?)).collect();
        others.retain(|python| *python != default);
        others.sort_unstable();
        std::iter::once(default).chain(others).collect()
    }

    /// The site of a native interpreter: the directory with dill and what else functions may import.
    ///
    /// # Errors
    /// There is none, or the given one holds no dill.
    pub fn site_of(&self, python: PythonVersion) -> Result<PathBuf, NotInstalled> {
        let packages = format!("lib/python{python}/site-packages");
        if python != PythonVersion::default() {
            let checkout = format!(".belljar/pythons/{python}/{packages}");
            let found = self.find_site(&checkout, &format!("share/belljar/site-{python}"), python);
            return found.ok_or(NotInstalled::FurtherSite(python));
        }
        match &self.site {
            Some(site) if site.join(SITE_MARK).is_file() => Ok(site.clone()),
            Some(site) => Err(NotInstalled::Dill(site.clone())),
            None => self
                .find_site(&format!(".belljar/venv/{packages}"), "share/belljar/site", python)
                .ok_or(NotInstalled::Site),
        }
    }

    /// The Python with pip that a site belongs to.
    #[must_use]
    pub fn pip_of(&self, python: PythonVersion) -> Option<PathBuf> {
        let site = self.site_of(python).ok().filter(|site| site.join("pip").is_dir())?;
        // ENV/lib/python3.11/site-packages
        Some(site.ancestors().nth(3)?.join("bin/python")).filter(|python| python.is_file())
    }

    /// A site below the checkout or the prefix that the programs are part of, or below the working
    /// directory.
    fn find_site(
        &self,
        in_checkout: &str,
        in_prefix: &str,
        python: PythonVersion,
    ) -> Option<PathBuf> {
        let above = self.programs.ancestors().take(ABOVE);
        let near = above.flat_map(|dir| [dir.join(in_checkout), dir.join(in_prefix)]);
        // Installed by pip, or by Debian's: the packages of the Python that the programs were installed with.
        let packages = ["site-packages", "dist-packages"]
            .map(|name| self.prefix().join(format!("lib/python{python}/{name}")));
        let mut all = near.chain(packages).chain([in_checkout.into()]);
        all.find(|dir| dir.join(SITE_MARK).is_file())
    }

    /// The directory that an installation is below: the programs are in its `bin`.
    #[must_use]
    pub fn prefix(&self) -> PathBuf {
        self.programs.components().as_path().parent().unwrap_or(Path::new("")).to_path_buf()
    }

    /// The guests of an installation, below its prefix.
    #[must_use]
    pub fn packaged_guests(&self) -> PathBuf {
        self.prefix().join(PACKAGED_GUESTS)
    }

    /// The guest of a Python, with links resolved: a link may be moved to a newer guest while children run.
    ///
    /// # Errors
    /// There is none.
    pub fn guest_of(&self, python: PythonVersion) -> Result<PathBuf, NotInstalled> {
        let guests = self.guests.as_deref().ok_or(NotInstalled::GuestDir)?;
        let guest = guests.join(python.to_string());
        std::fs::canonicalize(&guest).map_err(|_| NotInstalled::Guest { guest, python })
    }

    /// The command of a child, with the limit on results and the directories to import from, absolute:
    /// children run elsewhere.
    ///
    /// # Errors
    /// One of the directories is not there.
    pub fn command(&self, program: PathBuf) -> Result<ChildCommand, NotInstalled> {
        let most = if self.blobs.is_some() { MAX_RESULT_MB } else { MAX_INLINE_RESULT_MB };
        let max_result_bytes = (self.max_result_mb.unwrap_or(most).min(most) as usize) << 20;
        let blobs = self.blobs.clone();
        let command = ChildCommand { max_result_bytes, blobs, ..ChildCommand::new(program) };
        self.python_path.iter().try_fold(command, |command, dir| {
            let absolute = std::fs::canonicalize(dir)
                .map_err(|source| NotInstalled::PythonPath { dir: dir.clone(), source })?;
            Ok(command.option("--python-path", absolute))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_python_comes_first_and_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let default = PythonVersion::default();
        for name in ["tool3.99", "tool3.1", "tool", "other3.2", "tool3.x"] {
            std::fs::write(dir.path().join(name), "").expect("written");
        }
        std::fs::write(dir.path().join(format!("tool{default}")), "").expect("written");
        let found = Installation::default().pythons_in(dir.path(), "tool");
        let named = ["3.1", "3.99"].map(|text| text.parse().expect("a version"));
        assert_eq!(found, [default, named[0], named[1]]);
    }

    #[test]
    fn an_installation_has_sites_and_guests_below_its_prefix() {
        let dir = tempfile::tempdir().expect("a directory");
        let installation =
            Installation { programs: dir.path().join("bin/"), ..Installation::default() };
        assert_eq!(installation.packaged_guests(), dir.path().join("share/belljar/guests"));
        let further: PythonVersion = "3.99".parse().expect("a version");
        assert!(installation.site_of(further).is_err());
        for packages in ["lib/python3.99/dist-packages", "lib/python3.99/site-packages"] {
            let site = dir.path().join(packages);
            std::fs::create_dir_all(site.join("dill")).expect("created");
            std::fs::write(site.join(SITE_MARK), "").expect("written");
            assert_eq!(installation.site_of(further).ok(), Some(site));
        }
    }

    #[test]
    fn a_given_site_must_hold_dill() {
        let dir = tempfile::tempdir().expect("a directory");
        let site = Some(dir.path().to_owned());
        let installation = Installation { site, ..Installation::default() };
        let missing = installation.site_of(PythonVersion::default());
        assert!(matches!(missing, Err(NotInstalled::Dill(path)) if path == dir.path()));
    }
}
