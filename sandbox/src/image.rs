//! The guest as it was built: compiled code, the memory of a started interpreter, its library.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use belljar_core::task::PythonVersion;
use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use wasmtime::{InstancePre, Linker, Module};

use crate::engine::{self, EngineConfig, Flavour};
use crate::error::Error;
use crate::grants::Mount;
use crate::level::Level;
use crate::memory::Memories;
use crate::wasi::{self, Host};

/// What the build writes beside the guest, in `guest.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Description {
    /// The interpreter's full version, such as `3.11.2`.
    pub python: String,
    /// The version of dill that encodes and decodes.
    pub dill: String,
    /// Bytes of linear memory that an instance has from its start.
    pub memory_bytes: usize,
    /// Names this build: another has another. Guests that earlier versions have built have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether all that a call can change in an instance is its memory and its stack pointer: the build has looked. Then an
    /// instance is used again, with both put back.
    #[serde(default)]
    pub renewable: bool,
    /// Further images, each with a package imported; one includes those before it.
    #[serde(default)]
    pub packages: Vec<PackageImage>,
}

/// An image in which a package is imported already, so that a call that needs it does not wait for that.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PackageImage {
    /// The package's name. Calls that mention it start from this image.
    pub name: String,
    /// Further packages that are imported in it. Calls that mention one of them start from it too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Bytes of linear memory that an instance has from its start.
    pub memory_bytes: usize,
    /// Whether their compiled code is in a module of its own, with all that the guest's has, in the folder of its name:
    /// much code that is not run makes the rest slower.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
}

impl PackageImage {
    /// The file with the memory, in the guest's folder.
    pub(crate) fn file(&self) -> String {
        format!("memory-{}.img", self.name)
    }

    fn finders(&self) -> Vec<Finder<'static>> {
        let names = std::iter::once(&self.name).chain(&self.also);
        names.map(|name| Finder::new(name).into_owned()).collect()
    }
}

/// Bytes of the arguments' pickle that are searched for the names of packages: an array's class comes first.
const MENTIONED_WITHIN: usize = 4096;

/// File names within a guest's folder.
pub(crate) const DESCRIPTION: &str = "guest.json";
pub(crate) const MODULE: &str = "guest.wasm";
pub(crate) const MEMORY: &str = "memory.img";

/// A guest, loaded: cheap to clone, shared by all sandboxes of a process.
#[derive(Clone)]
pub struct Image {
    pub(crate) description: Arc<Description>,
    engine: wasmtime::Engine,
    /// The guest's module, then those of packages apart, each with its folder. A memory knows whose it is.
    modules: Arc<[(PathBuf, OnceLock<InstancePre<Host>>)]>,
    /// Of the bare image, then of [`Description::packages`].
    pub(crate) memories: Arc<[Arc<Memories>]>,
    /// Finds the packages' names, those of each image.
    mentions: Arc<[Vec<Finder<'static>>]>,
    pub(crate) config: EngineConfig,
    pub(crate) mounts: Arc<[Mount]>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("description", &self.description).finish_non_exhaustive()
    }
}

impl Image {
    /// Loads the guest in the folder `dir`, or beside the compiled module `dir`.
    ///
    /// The epoch flavour's code is compiled on first use, which takes some ten seconds, and kept
    /// beside the other.
    ///
    /// # Errors
    /// The folder holds no guest, or not one for this version and CPU, or others may write there.
    pub fn load(dir: impl AsRef<Path>, config: &EngineConfig) -> Result<Self, Error> {
        let dir = folder(dir.as_ref());
        check_trust(&dir)?;
        let description = std::fs::read(dir.join(DESCRIPTION));
        let description = description.map_err(Error::read(dir.join(DESCRIPTION)))?;
        let description: Description =
            serde_json::from_slice(&description).map_err(Error::Describe)?;
        let memories = memories(&dir, &description)?;
        let engine = engine::engine(config, Arc::clone(&memories[0]))?;
        let apart = description.packages.iter().filter(|package| package.apart);
        let dirs = std::iter::once(dir.clone()).chain(apart.map(|package| dir.join(&package.name)));
        let modules: Arc<[_]> = dirs.map(|dir| (dir, OnceLock::new())).collect();
        let mounts = own_mounts(&dir)?;
        let mentions = description.packages.iter().map(PackageImage::finders).collect();
        let description = Arc::new(description);
        let image =
            Self { description, engine, modules, memories, mentions, config: *config, mounts };
        // Where the process restricts itself, what is not open by then never is. The epoch flavour's code is not worth its
        // compilation before it is used.
        let count = if config.flavour == Flavour::Killed { image.modules.len() } else { 1 };
        (0..count).try_for_each(|index| image.loaded(index).map(drop))?;
        Ok(image)
    }

    /// The module of which an instance has a memory of `memories`.
    pub(crate) fn module_of(&self, memories: &Memories) -> Result<&InstancePre<Host>, Error> {
        self.loaded(memories.module())
    }

    fn loaded(&self, index: usize) -> Result<&InstancePre<Host>, Error> {
        let (dir, loaded) = &self.modules[index];
        if let Some(pre) = loaded.get() {
            return Ok(pre);
        }
        let mut linker = Linker::new(&self.engine);
        wasi::link(&mut linker).map_err(Error::Engine)?;
        let module = module(&self.engine, &self.config, dir)?;
        let pre = linker.instantiate_pre(&module).map_err(Error::Engine)?;
        Ok(loaded.get_or_init(|| pre))
    }

    /// What the guest is.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The image to start a call from: the one of the last package whose name stands in the pickle of the
    /// function or near the start of that of its arguments; 0 is the bare one.
    ///
    /// Mostly a matter of speed: every image can import every package but those apart. So a name in a text does no harm;
    /// a package apart can only be had by its name.
    pub(crate) fn choose(&self, code: &[u8], args: &[u8]) -> usize {
        let args = &args[..args.len().min(MENTIONED_WITHIN)];
        let found = |finder: &Finder<'_>| finder.find(code).or_else(|| finder.find(args)).is_some();
        let mentioned = |finders: &Vec<Finder<'_>>| finders.iter().any(found);
        self.mentions.iter().rposition(mentioned).map_or(0, |package| package + 1)
    }
}

fn memories(dir: &Path, description: &Description) -> Result<Arc<[Arc<Memories>]>, Error> {
    let bare = (MEMORY.to_owned(), description.memory_bytes, 0);
    let mut modules = 0;
    let packages = description.packages.iter().map(|image| {
        modules += usize::from(image.apart);
        (image.file(), image.memory_bytes, if image.apart { modules } else { 0 })
    });
    let images = std::iter::once(bare).chain(packages);
    let open = images.map(|(file, bytes, module)| {
        let path = dir.join(file);
        let memories = File::open(&path).and_then(|image| Memories::new(image, bytes, module));
        memories.map_err(Error::read(path))
    });
    open.collect()
}

/// The two directories that every guest reads: its standard library, and what the build added.
pub(crate) fn own_mounts(dir: &Path) -> Result<Arc<[Mount]>, Error> {
    let mounts = ["lib", "site"].map(|name| Mount::open(name.into(), &dir.join(name)));
    mounts.into_iter().collect()
}

/// Fails where another user than this one and root can write to the folder of the guest, to anything in
/// it, since all of it is run or read by what runs, or to the folder around it.
fn check_trust(dir: &Path) -> Result<(), Error> {
    // A link such as `3.11` leads to the folder: both can be replaced by who can write around them.
    let around = dir.parent().filter(|path| !path.as_os_str().is_empty());
    check_owner(around.unwrap_or(Path::new(".")), true)?;
    check_owner(&dir.join(".."), true)?;
    check_tree(dir)
}

/// The same for `dir` and all that is below it: a few thousand files, a few milliseconds.
fn check_tree(dir: &Path) -> Result<(), Error> {
    check_owner(dir, false)?;
    // What cannot be listed is missed later.
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(Error::read(dir))?;
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => check_tree(&path)?,
            _ => check_owner(&path, false)?,
        }
    }
    Ok(())
}

/// Whether only this user and root can change `path`; with `may_be_shared`, also others what is theirs
/// in it, as in `/tmp`. What is not there is missed later.
fn check_owner(path: &Path, may_be_shared: bool) -> Result<(), Error> {
    const OTHERS_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let is_shared = may_be_shared && mode & STICKY != 0;
    let is_own = [rustix::process::geteuid().as_raw(), 0].contains(&owner);
    if is_own && (mode & OTHERS_WRITE == 0 || is_shared) {
        return Ok(());
    }
    Err(Error::Untrusted { path: path.into(), owner, mode })
}

/// Where a guest is looked for that was not named: `$BELLJAR_GUEST_DIR`, else the user's cache.
///
/// # Errors
/// The user has no home.
pub fn default_dir(minor: PythonVersion) -> Result<PathBuf, Error> {
    let from_env =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || from_env("HOME").map(|home| home.join(".cache"));
    let cache = || from_env("XDG_CACHE_HOME").or_else(home).map(|cache| cache.join("belljar"));
    let base = from_env("BELLJAR_GUEST_DIR").or_else(cache).ok_or(Error::NoGuestDir)?;
    Ok(base.join(minor.to_string()))
}

fn folder(path: &Path) -> PathBuf {
    match path.extension() {
        Some(extension) if extension == "cwasm" => path.parent().unwrap_or(path).into(),
        _ => path.into(),
    }
}

/// The code for this processor where the guest has some, else the code for all.
fn artefact(flavour: Flavour, dir: &Path) -> &'static str {
    let fast = Level::V3.artefact();
    match flavour {
        Flavour::Killed if dir.join(fast).exists() && Level::V3.is_here() => fast,
        _ => flavour.artefact(),
    }
}

fn module(engine: &wasmtime::Engine, config: &EngineConfig, dir: &Path) -> Result<Module, Error> {
    let path = dir.join(artefact(config.flavour, dir));
    if !path.exists() {
        let source = dir.join(MODULE);
        let wasm = std::fs::read(&source).map_err(Error::read(source))?;
        let code = engine.precompile_module(&wasm).map_err(Error::Engine)?;
        // Only a later start gains by it.
        let _ = std::fs::write(&path, code);
        return Module::from_binary(engine, &wasm).map_err(Error::Engine);
    }
    #[expect(unsafe_code, reason = "the compiled code is run as it is")]
    // SAFETY: the build wrote it, in a folder that only the operator may write to.
    let module = unsafe { Module::deserialize_file(engine, path) };
    module.map_err(Error::Engine)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A guest's folder in one of its own, which it is removed with.
    fn guest() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let guest = dir.path().join("3.11");
        for inside in ["lib/json", "site/dill/__pycache__"] {
            std::fs::create_dir_all(guest.join(inside)).expect("created");
        }
        let artefact = Flavour::Killed.artefact();
        for file in [artefact, "lib/os.py", "lib/re.py", "site/dill/__pycache__/source.pyc"] {
            std::fs::write(guest.join(file), "code").expect("written");
        }
        std::os::unix::fs::symlink("re.py", guest.join("lib/link.py")).expect("linked");
        (dir, guest)
    }

    fn set(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("its own");
    }

    #[test]
    fn a_guest_that_others_can_write_is_refused() {
        let (dir, guest) = guest();
        let config = EngineConfig::default();
        assert!(check_trust(&guest).is_ok());
        for (inside, mode) in [
            ("", 0o777),
            ("", 0o770),
            (Flavour::Killed.artefact(), 0o666),
            ("lib", 0o775),
            ("site", 0o775),
            ("site/dill", 0o1777),
            ("lib/os.py", 0o664),
            ("site/dill/__pycache__/source.pyc", 0o646),
        ] {
            let path = if inside.is_empty() { guest.clone() } else { guest.join(inside) };
            set(&path, mode);
            let refused = Image::load(&guest, &config).expect_err("refused");
            assert!(
                matches!(&refused, Error::Untrusted { path: found, mode: shown, .. }
                    if *found == path && *shown == mode),
                "{refused}"
            );
            set(&path, 0o700);
        }
        set(dir.path(), 0o777);
        assert!(matches!(check_trust(&guest), Err(Error::Untrusted { .. })), "replaceable");
        set(dir.path(), 0o1777);
        assert!(check_trust(&guest).is_ok(), "as in /tmp");
    }

    #[test]
    fn code_for_better_processors_is_taken_where_there_is_one_and_it_fits() {
        let (_dir, guest) = guest();
        assert_eq!(artefact(Flavour::Killed, &guest), Flavour::Killed.artefact());
        std::fs::write(guest.join(Level::V3.artefact()), "code").expect("written");
        let best = if Level::V3.is_here() { Level::V3 } else { Level::V2 };
        assert_eq!(artefact(Flavour::Killed, &guest), best.artefact());
        assert_eq!(artefact(Flavour::Epoch, &guest), Flavour::Epoch.artefact());
    }

    #[test]
    fn a_guest_of_another_user_is_refused() {
        // Only root can give files away.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        for inside in [Flavour::Killed.artefact(), "site", "lib/json", "lib/os.py"] {
            let (_dir, guest) = guest();
            std::os::unix::fs::chown(guest.join(inside), Some(12_345), None).expect("root may");
            let refused = check_trust(&guest).expect_err("refused");
            assert!(
                matches!(&refused, Error::Untrusted { path, owner: 12_345, .. }
                    if *path == guest.join(inside)),
                "{refused}"
            );
        }
    }
}
