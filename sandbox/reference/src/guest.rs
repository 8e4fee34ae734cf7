//! The sandbox's side alone, driven by hand.

use std::path::Path;

pub use belljar_sandbox::reference::Linked;
use belljar_sandbox::reference::Running;
use wasmtime::{Engine, Module, Val};

use crate::module;

/// The flag of `path_open` for a directory.
pub const DIRECTORY: u64 = 2;
/// Where [`Guest::open`] lets the number of a descriptor be written.
const FD: usize = 8192;
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 6;

/// An instance of the forwarding module.
pub struct Guest(Running);

/// The forwarding module, linked to the sandbox's functions.
#[must_use]
pub fn link() -> Linked {
    let engine = Engine::default();
    let module = Module::new(&engine, module::forwarder()).expect("a module");
    Linked::new(&engine, &module).expect("all imports are there")
}

impl Guest {
    /// A new one, that may read `read` and write so many bytes to `/tmp`.
    #[must_use]
    pub fn start(linked: &Linked, read: &Path, scratch_bytes: u64) -> Self {
        Self(linked.start(read, scratch_bytes).expect("starts"))
    }

    /// Its memory.
    pub fn memory(&mut self) -> &mut [u8] {
        self.0.memory()
    }

    /// The number of 32 bits at `at`.
    pub fn number(&mut self, at: usize) -> u32 {
        u32::from_le_bytes(self.memory()[at..at + 4].try_into().expect("four bytes"))
    }

    /// The error number that the function `name` returns.
    pub fn call(&mut self, name: &str, arguments: &[u64]) -> i32 {
        let value = |(letter, &argument): (char, &u64)| match letter {
            'I' => Val::I64(argument as i64),
            _ => Val::I32(argument as i32),
        };
        let arguments: Vec<Val> =
            module::parameters(name).chars().zip(arguments).map(value).collect();
        self.0.call(name, &arguments).expect("answers")
    }

    /// Writes `path` to the memory; where it is, and its length.
    pub fn path(&mut self, at: usize, path: &str) -> [u64; 2] {
        self.memory()[at..at + path.len()].copy_from_slice(path.as_bytes());
        [at as u64, path.len() as u64]
    }

    /// Opens `path` from the root; `None` where it cannot be.
    pub fn open(&mut self, path: &str, how: u64) -> Option<u64> {
        let [at, length] = self.path(0, path);
        let rights = if how == DIRECTORY { READ } else { READ | WRITE };
        let arguments = [3, 0, at, length, how, rights, rights, 0, FD as u64];
        let code = self.call("path_open", &arguments);
        (code == 0).then(|| u64::from(self.number(FD)))
    }
}
