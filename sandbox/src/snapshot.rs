//! Makes a guest of a linked module: runs its start once, keeps the memory, compiles the rest.
//!
//! The memory at rest becomes a file beside the module instead of data segments within it, so that
//! [`memory`](crate::memory) can map it and restore single pages. All other state of an instance is
//! one global, the stack pointer, which is back at its start when the guest has returned.

use std::path::Path;
use std::sync::Arc;

use wasmtime::{Linker, Module, Store};

use crate::engine::{EngineConfig, Flavour, settings};
use crate::error::Error;
use crate::grants::GrantedAccess;
use crate::image::{self, Description, Image};
use crate::instance::{Host, Sandbox};
use crate::limits::{Account, Limits};
use crate::pagemap::PAGE;
use crate::wasi::{self, Output, Wasi};

/// The file with the list of modules.
const MODULES: &str = "modules.json";

const WASM_PAGE: usize = 64 << 10;

/// Makes the guest's files in `dir`, which already holds the library (`lib`, `site`), of the linked
/// module `linked`. `python` and `dill` are their versions.
///
/// # Errors
/// A file cannot be read or written, or the module does not start.
pub fn build(linked: &Path, dir: &Path, python: &str, dill: &str) -> Result<(), Error> {
    let wasm = std::fs::read(linked).map_err(Error::read(linked))?;
    let mut memory = snapshot(&wasm, dir).map_err(Error::Engine)?;
    let memory_bytes = memory.len();
    let used = memory.iter().rposition(|&byte| byte != 0).map_or(1, |last| last + 1);
    memory.truncate(used.next_multiple_of(PAGE));
    let module = without_data(&wasm, memory_bytes / WASM_PAGE).ok_or_else(|| {
        Error::Engine(wasmtime::Error::msg("the module's sections cannot be taken apart"))
    })?;
    let engine = wasmtime::Engine::new(&settings(Flavour::Killed)).map_err(Error::Engine)?;
    let code = engine.precompile_module(&module).map_err(Error::Engine)?;
    let description = Description { python: python.into(), dill: dill.into(), memory_bytes };
    let description = serde_json::to_vec_pretty(&description).map_err(Error::Describe)?;
    for (name, bytes) in [
        (image::MODULE, &module),
        (image::MEMORY, &memory),
        (Flavour::Killed.artefact(), &code),
        (image::DESCRIPTION, &description),
    ] {
        std::fs::write(dir.join(name), bytes).map_err(Error::read(dir.join(name)))?;
    }
    let modules = importable_modules(dir)?;
    std::fs::write(dir.join(MODULES), modules).map_err(Error::read(dir.join(MODULES)))
}

/// The new guest's own word on what it can import, as JSON; its first call as well.
fn importable_modules(dir: &Path) -> Result<Vec<u8>, Error> {
    /// Pickles of `belljar_boot.importable` and of `((), {})`.
    const CODE: &[u8] = b"\x80\x04cbelljar_boot\nimportable\n.";
    const ARGS: &[u8] = b"\x80\x04)}\x86.";
    let image = Image::load(dir, &EngineConfig::default())?;
    let mut sandbox = Sandbox::new(&image, &GrantedAccess::none(), Output::Capture(1 << 20))?;
    let answer = sandbox.call(CODE, ARGS, &Limits::default())?;
    match answer.result {
        Ok(_) => Ok(answer.stdout.bytes),
        Err(raised) => Err(Error::Instance(wasmtime::Error::msg(raised.traceback))),
    }
}

/// The memory of the module's instance after its start.
fn snapshot(wasm: &[u8], dir: &Path) -> wasmtime::Result<Vec<u8>> {
    let mut settings = settings(Flavour::Killed);
    settings.max_wasm_stack(2 << 20);
    let engine = wasmtime::Engine::new(&settings)?;
    let module = Module::from_binary(&engine, wasm)?;
    let mut linker = Linker::new(&engine);
    wasi::link(&mut linker)?;
    let mounts = image::own_mounts(dir).map_err(wasmtime::Error::new)?;
    let wasi = Wasi::new(Arc::clone(&mounts), Output::Inherit);
    let host = Host { wasi, account: Account::new(usize::MAX), memory: None };
    let mut store = Store::new(&engine, host);
    let instance = linker.instantiate(&mut store, &module)?;
    let memory = instance.get_memory(&mut store, "memory");
    store.data_mut().memory = memory;
    let stack_pointer = |store: &mut Store<Host>| {
        let global = instance.get_global(&mut *store, "__stack_pointer");
        global.and_then(|global| global.get(store).i32())
    };
    let before = stack_pointer(&mut store);
    for name in ["_initialize", "belljar_init"] {
        instance.get_typed_func::<(), ()>(&mut store, name)?.call(&mut store, ())?;
    }
    if before.is_none() || before != stack_pointer(&mut store) {
        return Err(wasmtime::Error::msg("the stack pointer is not exported or not back"));
    }
    let memory = memory.ok_or_else(|| wasmtime::Error::msg("the module exports no memory"))?;
    Ok(memory.data(&store).to_vec())
}

/// `wasm` without data segments, its memory `pages` long from the start.
fn without_data(wasm: &[u8], pages: usize) -> Option<Vec<u8>> {
    const MEMORY: u8 = 5;
    const DATA: u8 = 11;
    const DATA_COUNT: u8 = 12;
    const CUSTOM: u8 = 0;
    let mut module = wasm.get(..8)?.to_vec();
    let mut rest = wasm.get(8..)?;
    while let Some((&id, after)) = rest.split_first() {
        let (length, after) = read_leb(after)?;
        let (body, after) = after.split_at_checked(length)?;
        rest = after;
        match id {
            CUSTOM | DATA | DATA_COUNT => {}
            MEMORY => {
                // One memory, no maximum, its minimum.
                let mut body = vec![1, 0];
                write_leb(&mut body, pages);
                module.push(MEMORY);
                write_leb(&mut module, body.len());
                module.extend_from_slice(&body);
            }
            _ => {
                module.push(id);
                write_leb(&mut module, body.len());
                module.extend_from_slice(body);
            }
        }
    }
    Some(module)
}

fn read_leb(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

fn write_leb(bytes: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 300, 1 << 20, u32::MAX as usize] {
            let mut bytes = Vec::new();
            write_leb(&mut bytes, value);
            assert_eq!(read_leb(&bytes), Some((value, &[][..])));
        }
    }

    #[test]
    fn data_goes_and_memory_grows() {
        let wasm = b"\0asm\x01\0\0\0\x05\x03\x01\0\x01\x0b\x01\0\x07\x01\0";
        let module = without_data(wasm, 640).expect("well formed");
        assert_eq!(module, b"\0asm\x01\0\0\0\x05\x04\x01\0\x80\x05\x07\x01\0");
        assert_eq!(without_data(&wasm[..10], 1), None);
    }
}
