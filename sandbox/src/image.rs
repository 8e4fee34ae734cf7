//! The guest as it was built: compiled code, the memory of a started interpreter, its library.

use std::fs::File;
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
    /// The folder holds no guest, or not one for this version and CPU.
    pub fn load(dir: impl AsRef<Path>, config: &EngineConfig) -> Result<Self, Error> {
        let dir = folder(dir.as_ref());
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

/// Where a guest is looked for that was not named: `$BELLJAR_GUEST_DIR`, else the user's cache.
#[must_use]
pub fn default_dir(minor: PythonVersion) -> PathBuf {
    let from_env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = from_env("BELLJAR_GUEST_DIR").map(PathBuf::from).unwrap_or_else(|| {
        let cache = from_env("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(from_env("HOME").unwrap_or_default()).join(".cache");
        cache.unwrap_or_else(home).join("belljar")
    });
    base.join(minor.to_string())
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
