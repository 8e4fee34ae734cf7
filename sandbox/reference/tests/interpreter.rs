//! The interpreter itself on both: the guest's image, hosted by the sandbox and by `wasmtime-wasi`, runs the same
//! functions and must see the same. Its start ran on `wasmtime-wasi` when it was built; what that noted must be true for
//! the sandbox as well.

use std::path::{Path, PathBuf};

use belljar_sandbox::engine::EngineConfig;
use belljar_sandbox::grants::GrantedAccess;
use belljar_sandbox::image::{Image, default_dir};
use belljar_sandbox::limits::Limits;
use belljar_sandbox::{Output, Sandbox, source};
use tempfile::TempDir;
use wasmtime::{Config, Engine, Instance, InstancePre, Linker, Memory, Module, OptLevel, Store};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// Functions `f`, each of which returns what it sees.
const FUNCTIONS: &[&str] = &[
    "import sys, os
def f(): return [sys.version, sys.path, sys.argv, dict(os.environ), os.getcwd(), sys.platform, sorted(sys.modules)]",
    "import importlib
NAMES = 'json decimal asyncio sqlite3 zoneinfo email.message xml.etree.ElementTree unittest ctypes.util lzma bz2 zipfile'
def f():
    seen = []
    for name in NAMES.split():
        try: seen.append(importlib.import_module(name).__name__)
        except ImportError as error: seen.append(str(error))
    return seen",
    "import os
def f(): return [[path, sorted(dirs), sorted(files)] for path, dirs, files in sorted(os.walk('/lib/json'))]",
    "import os, stat
def f():
    seen = []
    for path in ('/', '/lib', '/site', '/lib/os.py', '/lib/json', '/lib/os.py/', '/lib/none', '/lib/json/../os.py', '/site/none/x'):
        try: now = os.stat(path)
        except OSError as error: seen.append([path, type(error).__name__, error.errno])
        else: seen.append([path, stat.S_IFMT(now.st_mode), now.st_size if stat.S_ISREG(now.st_mode) else 0, now.st_mtime_ns if stat.S_ISREG(now.st_mode) else 0])
    return seen",
    "import io
def f():
    with open('/lib/os.py', 'rb') as file:
        head = file.read(100)
        file.seek(-10, io.SEEK_END)
        end = [file.read().decode(), file.tell(), file.read().decode()]
        file.seek(50)
        room = bytearray(30)
        count = file.readinto(room)
    with open('/lib/os.py') as file: lines = sum(1 for _ in file)
    return [head.decode(), end, count, room.decode(), lines]",
    "import os, shutil, tempfile
def said(call, *args):
    try: return repr(call(*args))
    except OSError as error: return [type(error).__name__, error.errno]
def f():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with open('one', 'w') as file: file.write('one')
        with open('one', 'a') as file: file.write(' and two')
        os.makedirs('a/b')
        shutil.copy('one', 'a/b/two')
        shutil.copytree('a', 'c')
        os.rename('one', 'a/one')
        os.truncate('a/one', 3)
        seen = [sorted([path, sorted(dirs), sorted(files)] for path, dirs, files in os.walk('.')), open('a/one').read(), os.path.getsize('c/b/two')]
        seen += [said(os.rmdir, 'a'), said(open, 'none'), said(os.mkdir, 'a'), said(os.listdir, 'a/one'), said(os.unlink, 'none')]
        os.chdir('/')
    return [seen, os.path.exists(folder)]",
    "import random, os, time, uuid
def f():
    start = time.monotonic()
    time.sleep(0.02)
    drawn = {os.urandom(16), random.randbytes(16), uuid.uuid4().bytes}
    return [len(drawn), time.monotonic() - start >= 0.02, time.time() > 1.7e9, time.get_clock_info('monotonic').resolution]",
    "import asyncio
async def later(n):
    await asyncio.sleep(0.001 * n)
    return n
async def all_of_them(): return await asyncio.gather(*(later(n) for n in range(5)))
def f(): return asyncio.run(all_of_them())",
    "import sys
def f(): return [sys.stdin.read(), print('out'), print('err', file=sys.stderr)]",
    "def f(): raise KeyError('of the function')",
];

/// The guest as its image is, for `wasmtime-wasi`.
struct Theirs {
    pre: InstancePre<WasiP1Ctx>,
    image: Vec<u8>,
    root: TempDir,
}

/// One interpreter.
struct Running {
    store: Store<WasiP1Ctx>,
    instance: Instance,
    memory: Memory,
}

impl Theirs {
    fn new(dir: &Path) -> Self {
        let mut config = Config::new();
        config
            .cranelift_opt_level(OptLevel::None)
            .max_wasm_stack(4 << 20)
            .async_stack_size(6 << 20);
        let engine = Engine::new(&config).expect("an engine");
        let module = Module::from_file(&engine, dir.join("guest.wasm")).expect("a guest");
        let mut linker = Linker::new(&engine);
        p1::add_to_linker_sync(&mut linker, |context: &mut WasiP1Ctx| context)
            .expect("linked once");
        let pre = linker.instantiate_pre(&module).expect("all imports are there");
        let root = TempDir::new().expect("a directory");
        for name in ["lib", "site"] {
            copy(&dir.join(name), &root.path().join(name));
        }
        std::fs::create_dir(root.path().join("tmp")).expect("made");
        let image = std::fs::read(dir.join("memory.img")).expect("an image");
        Self { pre, image, root }
    }

    fn start(&self) -> Running {
        let mut builder = WasiCtxBuilder::new();
        builder.allow_blocking_current_thread(true);
        builder.preopened_dir(self.root.path(), "/", FsPerms::ReadWrite).expect("there");
        let mut store = Store::new(self.pre.module().engine(), builder.build_p1());
        let instance = self.pre.instantiate(&mut store).expect("starts");
        let memory = instance.get_memory(&mut store, "memory").expect("exported");
        memory.write(&mut store, 0, &self.image).expect("it fits");
        Running { store, instance, memory }
    }
}

impl Running {
    fn call<const N: usize>(&mut self, name: &str, arguments: [u32; N]) -> u32 {
        let function = self.instance.get_func(&mut self.store, name).expect("exported");
        let arguments = arguments.map(|number| wasmtime::Val::I32(number.cast_signed()));
        let mut result = [wasmtime::Val::I32(0)];
        function.call(&mut self.store, &arguments, &mut result).expect("comes back");
        result[0].unwrap_i32().cast_unsigned()
    }

    fn give(&mut self, bytes: &[u8]) -> [u32; 2] {
        let length = u32::try_from(bytes.len()).expect("short");
        let at = self.call("belljar_alloc", [length]);
        self.memory.write(&mut self.store, at as usize, bytes).expect("there is room");
        [at, length]
    }

    /// The bytes that a pair of a place and a length in the answer means.
    fn text(&self, answer: u32, field: usize) -> Vec<u8> {
        let memory = self.memory.data(&self.store);
        let number =
            |at: usize| u32::from_le_bytes(memory[at..at + 4].try_into().expect("four")) as usize;
        let at = answer as usize + 4 + 8 * field;
        memory[number(at)..number(at) + number(at + 4)].to_vec()
    }

    /// What `f` of `source` returns, as JSON, or the traceback of what it raises.
    fn run(mut self, source: &str) -> String {
        assert_eq!(self.call("belljar_prepare", [0]), 0, "seeded");
        let [code, code_bytes] = self.give(&source::function(source, "f"));
        let [args, args_bytes] = self.give(&source::arguments("[]"));
        let word = self.call("belljar_run", [code, code_bytes, args, args_bytes, 0, 0]);
        assert_eq!(word, 0, "answered");
        let answer = self.call("belljar_answer", []);
        let is_ok = self.memory.data(&self.store)[answer as usize] == 1;
        if is_ok {
            source::json(&self.text(answer, 0)).expect("JSON").to_owned()
        } else {
            String::from_utf8(self.text(answer, 3)).expect("UTF-8")
        }
    }
}

/// Copies a tree with the times of its files, which the interpreter's caches of modules know.
fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("cp").success());
}

fn ours(dir: &Path, source: &str) -> String {
    let image = Image::load(dir, &EngineConfig::default()).expect("a guest");
    let granted = GrantedAccess::none().scratch(16 << 20);
    let mut sandbox = Sandbox::new(&image, &granted, Output::Capture(1 << 20)).expect("starts");
    let (code, args) = (source::function(source, "f"), source::arguments("[]"));
    let answer = sandbox.call(&code, &args, &Limits::default()).expect("answers");
    match answer.result {
        Ok(pickle) => source::json(&pickle).expect("JSON").to_owned(),
        Err(raised) => raised.traceback,
    }
}

#[test]
fn the_interpreter_sees_the_same_on_both() {
    let dir: PathBuf = default_dir(Default::default()).expect("a home");
    let theirs = Theirs::new(&dir);
    for function in FUNCTIONS {
        assert_eq!(ours(&dir, function), theirs.start().run(function), "{function}");
    }
}
