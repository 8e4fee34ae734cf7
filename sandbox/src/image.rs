//! The guest as it was built: compiled code, the memory of a started interpreter, its library.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use belljar_core::task::PythonVersion;
use serde::{Deserialize, Serialize};
use wasmtime::{InstancePre, Linker, Module};

use crate::engine::{self, EngineConfig};
use crate::error::Error;
use crate::grants::Mount;
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
}

/// File names within a guest's folder.
pub(crate) const DESCRIPTION: &str = "guest.json";
pub(crate) const MODULE: &str = "guest.wasm";
pub(crate) const MEMORY: &str = "memory.img";

/// A guest, loaded: cheap to clone, shared by all sandboxes of a process.
#[derive(Clone)]
pub struct Image {
    pub(crate) description: Arc<Description>,
    pub(crate) pre: InstancePre<Host>,
    pub(crate) memories: Arc<Memories>,
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
        check_trust(&dir, config)?;
        let description = std::fs::read(dir.join(DESCRIPTION));
        let description = description.map_err(Error::read(dir.join(DESCRIPTION)))?;
        let description: Description =
            serde_json::from_slice(&description).map_err(Error::Describe)?;
        let path = dir.join(MEMORY);
        let memories = File::open(&path).and_then(|f| Memories::new(f, description.memory_bytes));
        let memories = memories.map_err(Error::read(path))?;
        let engine = engine::engine(config, Arc::clone(&memories))?;
        let module = module(&engine, config, &dir)?;
        let mut linker = Linker::new(&engine);
        wasi::link(&mut linker).map_err(Error::Engine)?;
        let pre = linker.instantiate_pre(&module).map_err(Error::Engine)?;
        let mounts = own_mounts(&dir)?;
        Ok(Self { description: Arc::new(description), pre, memories, config: *config, mounts })
    }

    /// What the guest is.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }
}

/// The two directories that every guest reads: its standard library, and what the build added.
pub(crate) fn own_mounts(dir: &Path) -> Result<Arc<[Mount]>, Error> {
    let mounts = ["lib", "site"].map(|name| Mount::open(name.into(), &dir.join(name)));
    mounts.into_iter().collect()
}

/// Fails where another user than this one and root can write to the folder of the guest or to a file of
/// which this process runs or copies what it holds.
fn check_trust(dir: &Path, config: &EngineConfig) -> Result<(), Error> {
    const OTHERS_WRITE: u32 = 0o022;
    let own = rustix::process::geteuid().as_raw();
    let files = [config.flavour.artefact(), MODULE, MEMORY, DESCRIPTION].map(|name| dir.join(name));
    for path in files.into_iter().chain([dir.to_path_buf()]) {
        // Those that are needed are missed later.
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        if ![own, 0].contains(&owner) || mode & OTHERS_WRITE != 0 {
            return Err(Error::Untrusted { path, owner, mode });
        }
    }
    Ok(())
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

fn module(engine: &wasmtime::Engine, config: &EngineConfig, dir: &Path) -> Result<Module, Error> {
    let path = dir.join(config.flavour.artefact());
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
    use crate::engine::Flavour;

    #[test]
    fn a_guest_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(Flavour::Killed.artefact());
        std::fs::write(&file, "code").expect("written");
        let config = EngineConfig::default();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("its own");
        };
        assert!(check_trust(dir.path(), &config).is_ok());
        for (path, mode) in [(dir.path(), 0o777), (dir.path(), 0o770), (&*file, 0o666)] {
            set(path, mode);
            let refused = Image::load(dir.path(), &config).expect_err("refused");
            assert!(
                matches!(&refused, Error::Untrusted { path: found, mode: shown, .. }
                    if found == path && *shown == mode),
                "{refused}"
            );
            set(path, 0o700);
        }
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(12_345), None).expect("root may");
            assert!(matches!(
                check_trust(dir.path(), &config),
                Err(Error::Untrusted { owner: 12_345, .. })
            ));
        }
    }
}
