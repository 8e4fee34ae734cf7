//! The two implementations, and the files that both see.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use belljar_sandbox::reference::{Linked, Running};
use tempfile::TempDir;
use wasmtime::{Engine, Instance, InstancePre, Linker, Memory, Module, Store, Val};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::module;

/// What one function answered: its error number, or that it trapped.
pub type Answer = Result<u16, String>;

/// An instance of the forwarding module.
pub trait Side {
    /// Calls the function `name`. Numbers of 32 bits are cut to that.
    fn call(&mut self, name: &str, arguments: &[u64]) -> Answer;
    /// Its memory.
    fn memory(&mut self) -> &mut [u8];
    /// Whether it is the sandbox's: one call of it moves all buffers, not only the first that is not empty.
    fn is_ours(&self) -> bool;
    /// The descriptors of the directory that is only read, and of the one that is written.
    fn directories(&mut self) -> [u32; 2];
}

/// Both implementations, compiled, and a directory to read.
pub struct Both {
    ours: Linked,
    theirs: InstancePre<WasiP1Ctx>,
    read: TempDir,
}

struct Ours {
    running: Running,
    read: PathBuf,
}

struct Theirs {
    store: Store<WasiP1Ctx>,
    instance: Instance,
    memory: Memory,
    _written: TempDir,
}

/// Of the scratch directory: more than any sequence writes.
const SCRATCH_BYTES: u64 = 64 << 20;

impl Both {
    /// Compiles both and makes the directory to read.
    #[must_use]
    pub fn new() -> Self {
        let engine = Engine::default();
        let module = Module::new(&engine, module::forwarder()).expect("a module");
        let mut linker = Linker::new(&engine);
        p1::add_to_linker_sync(&mut linker, |context| context).expect("linked once");
        let theirs = linker.instantiate_pre(&module).expect("all imports are there");
        let ours = Linked::new(&engine, &module).expect("all imports are there");
        Self { ours, theirs, read: files_to_read() }
    }

    /// A new instance of each.
    #[must_use]
    pub fn start(&self) -> [Box<dyn Side>; 2] {
        let read = self.read.path().join("given");
        let running = self.ours.start(&read, SCRATCH_BYTES).expect("starts");
        [Box::new(Ours { running, read: read.clone() }), Box::new(self.start_theirs(&read))]
    }

    fn start_theirs(&self, read: &Path) -> Theirs {
        let memory_files = Path::new("/dev/shm");
        let written =
            if memory_files.is_dir() { TempDir::new_in(memory_files) } else { TempDir::new() };
        let written = written.expect("a directory");
        let mut builder = WasiCtxBuilder::new();
        builder.allow_blocking_current_thread(true);
        builder.preopened_dir(read, "/given", FsPerms::ReadOnly).expect("there");
        builder.preopened_dir(written.path(), "/tmp", FsPerms::ReadWrite).expect("there");
        let mut store = Store::new(self.theirs.module().engine(), builder.build_p1());
        let instance = self.theirs.instantiate(&mut store).expect("starts");
        let memory = instance.get_memory(&mut store, "memory").expect("exported");
        Theirs { store, instance, memory, _written: written }
    }
}

impl Default for Both {
    fn default() -> Self {
        Self::new()
    }
}

/// A directory `given` with files, directories and links of each kind, and a secret beside it.
///
/// # Panics
/// They cannot be made.
#[must_use]
pub fn files_to_read() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    let given = dir.path().join("given");
    std::fs::create_dir_all(given.join("sub/deep")).expect("created");
    std::fs::write(dir.path().join("secret"), "not given").expect("written");
    std::fs::write(given.join("f"), b"0123456789".repeat(30)).expect("written");
    std::fs::write(given.join("sub/g"), "inside").expect("written");
    std::fs::write(given.join("empty"), "").expect("written");
    for index in 0..40 {
        std::fs::write(given.join(format!("sub/deep/{index}")), "x").expect("written");
    }
    for (target, name) in [
        ("f", "link"),
        ("sub", "dirlink"),
        ("../f", "sub/up"),
        ("nothing", "dangling"),
        ("loop", "loop"),
        ("../secret", "escape"),
        ("/etc/passwd", "absolute"),
    ] {
        symlink(target, given.join(name)).expect("linked");
    }
    dir
}

fn values(name: &str, arguments: &[u64]) -> Vec<Val> {
    let value = |(letter, &argument): (char, &u64)| match letter {
        'I' => Val::I64(argument as i64),
        _ => Val::I32(argument as i32),
    };
    let parameters = module::parameters(name);
    assert_eq!(parameters.len(), arguments.len(), "`{name}`");
    parameters.chars().zip(arguments).map(value).collect()
}

/// The root is what is open at the start.
const ROOT: u64 = 3;

impl Side for Ours {
    fn call(&mut self, name: &str, arguments: &[u64]) -> Answer {
        let code = self.running.call(name, &values(name, arguments));
        code.map(|code| code as u16).map_err(|error| format!("{error:#}"))
    }

    fn memory(&mut self) -> &mut [u8] {
        self.running.memory()
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn directories(&mut self) -> [u32; 2] {
        let read = self.read.to_str().expect("UTF-8")[1..].to_owned();
        [read.as_str(), "tmp"].map(|path| {
            self.memory()[..path.len()].copy_from_slice(path.as_bytes());
            let all = u64::MAX;
            let arguments = [ROOT, 1, 0, path.len() as u64, 2, all & !(1 << 6), all, 0, 1024];
            assert_eq!(self.call("path_open", &arguments), Ok(0), "{path}");
            u32::from_le_bytes(self.memory()[1024..1028].try_into().expect("four bytes"))
        })
    }
}

impl Side for Theirs {
    fn call(&mut self, name: &str, arguments: &[u64]) -> Answer {
        let function = self.instance.get_func(&mut self.store, name).expect("exported");
        let mut result = [Val::I32(0)];
        let called = function.call(&mut self.store, &values(name, arguments), &mut result);
        called.map(|()| result[0].unwrap_i32() as u16).map_err(|error| format!("{error:#}"))
    }

    fn memory(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    fn is_ours(&self) -> bool {
        false
    }

    fn directories(&mut self) -> [u32; 2] {
        [3, 4]
    }
}
