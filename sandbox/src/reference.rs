//! The WASI functions alone, without an interpreter, for `reference/`, which holds them against another
//! implementation. Any module may call them that exports its `memory`.

use std::path::Path;
use std::sync::Arc;

use wasmtime::{Engine, Instance, InstancePre, Linker, Memory, Module, Store, Val};

use crate::grants::GrantedAccess;
use crate::wasi::{self, Host, Output};

/// A module, linked to the functions.
pub struct Linked(InstancePre<Host>);

/// An instance of it.
pub struct Running {
    store: Store<Host>,
    instance: Instance,
    memory: Memory,
}

impl Linked {
    /// Links `module`.
    ///
    /// # Errors
    /// It imports what there is not.
    pub fn new(engine: &Engine, module: &Module) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        wasi::link(&mut linker)?;
        Ok(Self(linker.instantiate_pre(module)?))
    }

    /// An instance that may read the directory at the absolute path `read`, under the same path, and
    /// write to `/tmp` so many bytes.
    ///
    /// # Errors
    /// The directory cannot be granted, or the module exports no memory.
    pub fn start(&self, read: &Path, scratch_bytes: u64) -> wasmtime::Result<Running> {
        let path = read.to_str().ok_or_else(|| wasmtime::Error::msg("a path that is not UTF-8"))?;
        let granted = GrantedAccess::none().read(path).map_err(wasmtime::Error::new)?;
        let granted = granted.scratch(scratch_bytes);
        let mut host = Host::new(Arc::from([]), Output::Capture(1 << 20));
        host.wasi.files.grant(&granted);
        let mut store = Store::new(self.0.module().engine(), host);
        let instance = self.0.instantiate(&mut store)?;
        let memory = instance.get_memory(&mut store, "memory");
        let memory = memory.ok_or_else(|| wasmtime::Error::msg("no memory"))?;
        store.data_mut().memory = Some(memory);
        Ok(Running { store, instance, memory })
    }
}

impl Running {
    /// Calls the export `name`; the number that it returns.
    ///
    /// # Errors
    /// There is none of that name and these arguments, or it traps.
    pub fn call(&mut self, name: &str, arguments: &[Val]) -> wasmtime::Result<i32> {
        let function = self.instance.get_func(&mut self.store, name);
        let function = function.ok_or_else(|| wasmtime::Error::msg(format!("no `{name}`")))?;
        let mut result = [Val::I32(0)];
        function.call(&mut self.store, arguments, &mut result)?;
        Ok(result[0].unwrap_i32())
    }

    /// The instance's memory.
    pub fn memory(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }
}
