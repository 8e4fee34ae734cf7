//! The guest's start, hosted by `wasmtime-wasi`: what the C library and the interpreter note there is what the
//! reference answers, and a call that runs on the sandbox's functions afterwards must find it true.

use std::ops::RangeInclusive;
use std::path::Path;

use wasmtime::{
    Config, Engine, Instance, InstancePre, Linker, Module, Result, Store, error::Context as _,
};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// Writes the memories of the module `linked` after its starts to files in `out`, named by how many packages
/// were imported: `images` are these numbers. `dir` holds the library (`lib`, `site`), which the guest sees at its root.
///
/// # Errors
/// A file cannot be read or written, or the module does not start.
pub fn write(linked: &Path, dir: &Path, out: &Path, images: RangeInclusive<u32>) -> Result<()> {
    let mut config = Config::new();
    // The interpreter is deep in C where it imports: as deep as calls may be.
    config.max_wasm_stack(2 << 20).async_stack_size(4 << 20);
    let engine = Engine::new(&config)?;
    let module = Module::from_file(&engine, linked)?;
    let mut linker = Linker::new(&engine);
    p1::add_to_linker_sync(&mut linker, |context: &mut WasiP1Ctx| context)?;
    // What an error deep in a library would ask for. Starts have none.
    linker.func_wrap("belljar", "try", |_: u32, _: u32| Err::<u32, _>(not_yet()))?;
    linker.func_wrap("belljar", "throw", || Err::<(), _>(not_yet()))?;
    let pre = linker.instantiate_pre(&module)?;
    // The sandbox has this device in each call. A directory of its own would be one more that the C library knows.
    let dev = dir.join("dev");
    std::fs::create_dir(&dev)?;
    std::fs::write(dev.join("null"), [])?;
    for image in images {
        let memory = started(&pre, dir, image)?;
        std::fs::write(out.join(image.to_string()), memory)?;
    }
    Ok(std::fs::remove_dir_all(dev)?)
}

fn not_yet() -> wasmtime::Error {
    wasmtime::Error::msg("nothing can be tried while the guest starts")
}

/// The memory of an instance that has started with the first `packages` packages.
fn started(pre: &InstancePre<WasiP1Ctx>, dir: &Path, packages: u32) -> Result<Vec<u8>> {
    let mut builder = WasiCtxBuilder::new();
    builder.allow_blocking_current_thread(true).inherit_stdio();
    builder.preopened_dir(dir, "/", FsPerms::ReadWrite)?;
    let mut store = Store::new(pre.module().engine(), builder.build_p1());
    let instance = pre.instantiate(&mut store)?;
    let before = stack_pointer(&mut store, &instance);
    instance.get_typed_func::<(), ()>(&mut store, "_initialize")?.call(&mut store, ())?;
    instance.get_typed_func::<u32, ()>(&mut store, "belljar_init")?.call(&mut store, packages)?;
    if before.is_none() || before != stack_pointer(&mut store, &instance) {
        return Err(wasmtime::Error::msg("the stack pointer is not exported or not back"));
    }
    let memory =
        instance.get_memory(&mut store, "memory").context("the module exports no memory")?;
    Ok(memory.data(&store).to_vec())
}

fn stack_pointer(store: &mut Store<WasiP1Ctx>, instance: &Instance) -> Option<i32> {
    let global = instance.get_global(&mut *store, "__stack_pointer")?;
    global.get(store).i32()
}
