//! The programs of `guests/`, written after what public suites for WASI check: each runs on both
//! implementations, and natively. The sandbox must show it what Linux does, and `wasmtime-wasi` too, but for
//! the rows of the table.

use std::path::{Path, PathBuf};
use std::process::Command;

use belljar_sandbox::reference::Linked;
use belljar_wasi_reference::side::files_to_read;
use tempfile::TempDir;
use wasmtime::{Engine, Linker, Module, Store, Val};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// Bytes of the guest's `roots`, each.
const ROOT_BYTES: usize = 512;
const SCRATCH_BYTES: u64 = 64 << 20;
/// Lines of what leads out of a grant: natively it would succeed.
const OUT: &str = "out: ";

const SLASH: &str = "removing a directory whose path ends in a slash";
const MADE_TO_READ: &str = "writing to what was made or emptied, but opened for reading";
const MANY_BUFFERS: &str = "more than 1,024 buffers";
const COOKIES: &str = "inode and device numbers, cookies and the order of a listing";

/// Where `wasmtime-wasi` shows something else: a guest, the beginning of its lines, and the row that says why.
const DIFFER: &[(&str, &str, &str)] = &[
    ("directories", "d/ rmdir", SLASH),
    ("directories", "d/e/ rmdir", SLASH),
    ("directories", "d rmdir(W(gone[i])): 0", SLASH),
    ("directories", "left: ", SLASH),
    ("directories", "d/e/.. rmdir", "removing a directory as `..`"),
    ("directories", "left after removing", COOKIES),
    ("directories", "after a rewind", COOKIES),
    ("directories", "rmdir(W(\"many\")): 0", COOKIES),
    ("directories", "read(fd, &byte, 1)", "reading a directory"),
    ("directories", "fdopendir(file)", "a path below what is no directory, and its listing"),
    ("files", "write(fd, \"x\", 1): -1 EBADF", MADE_TO_READ),
    ("files", "lseek(fd, 0, SEEK_CUR): ", MADE_TO_READ),
    ("files", "writev(fd, many, 1025)", MANY_BUFFERS),
    ("files", "readv(fd, many, 1025)", MANY_BUFFERS),
    ("paths", "out: ", "what is not granted, and changing what is read-only"),
    ("waiting", "poll(&bad", "waiting for what is not open, or not in that direction"),
    ("waiting", "what is not open", "waiting for what is not open, or not in that direction"),
];

/// Where the sandbox shows another error than Linux: a guest and the line.
const NOT_LINUX: &[(&str, &str)] = &[
    ("paths", "link open in four ways: -1 ELOOP"),
    ("paths", "dirlink open in four ways: -1 ELOOP"),
    ("paths", "sub/up open in four ways: -1 ELOOP"),
    ("paths", "dangling open in four ways: -1 ELOOP"),
    ("paths", "loop open in four ways: -1 ELOOP"),
];

/// A guest, compiled for WASI and for this machine.
struct Program {
    wasm: PathBuf,
    native: PathBuf,
}

/// With the compiler and the flags of the interpreter's guest.
fn build(name: &str, dir: &Path) -> Program {
    let [wasm, native] = ["guest.wasm", "guest"].map(|file| dir.join(file));
    let sources = format!("guests/{name}.c guests/guest.c");
    let commands = format!(
        ". ../guest/toolchain.sh
        $CC -O1 -mexec-model=reactor {sources} -o {wasm}
        cc -O1 -w -D_GNU_SOURCE {sources} -o {native}",
        wasm = wasm.display(),
        native = native.display(),
    );
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", &commands]).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(shell.status().expect("a shell").success(), "`make guest` installs the compiler");
    Program { wasm, native }
}

/// Writes the two directories where the guest looks for them.
fn write_roots(memory: &mut [u8], at: usize, roots: [&str; 2]) {
    for (root, place) in roots.iter().zip([at, at + ROOT_BYTES]) {
        memory[place..place + root.len()].copy_from_slice(root.as_bytes());
    }
}

fn text(memory: &[u8], at: i32) -> String {
    let text = &memory[at as usize..];
    let end = text.iter().position(|&byte| byte == 0).expect("an end");
    String::from_utf8(text[..end].to_vec()).expect("UTF-8")
}

/// What it writes down in the sandbox.
fn ours(engine: &Engine, module: &Module, given: &Path) -> String {
    let linked = Linked::new(engine, module).expect("all imports are there");
    let mut running = linked.start(given, SCRATCH_BYTES).expect("starts");
    let at = running.call("roots", &[]).expect("answers");
    write_roots(running.memory(), at as usize, ["/tmp", given.to_str().expect("UTF-8")]);
    let at = running.call("run", &[]).expect("comes back");
    text(running.memory(), at)
}

/// And with `wasmtime-wasi`.
fn theirs(engine: &Engine, module: &Module, given: &Path) -> String {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_sync(&mut linker, |context: &mut WasiP1Ctx| context).expect("linked once");
    let written = TempDir::new().expect("a directory");
    let path = given.to_str().expect("UTF-8");
    let mut builder = WasiCtxBuilder::new();
    builder.allow_blocking_current_thread(true);
    builder.preopened_dir(given, path, FsPerms::ReadOnly).expect("there");
    builder.preopened_dir(written.path(), "/tmp", FsPerms::ReadWrite).expect("there");
    let mut store = Store::new(engine, builder.build_p1());
    let instance = linker.instantiate(&mut store, module).expect("starts");
    let memory = instance.get_memory(&mut store, "memory").expect("exported");
    let call = |store: &mut Store<WasiP1Ctx>, name| {
        let mut result = [Val::I32(0)];
        let function = instance.get_func(&mut *store, name).expect("exported");
        function.call(store, &[], &mut result).expect("comes back");
        result[0].unwrap_i32()
    };
    let at = call(&mut store, "roots");
    write_roots(memory.data_mut(&mut store), at as usize, ["/tmp", path]);
    let at = call(&mut store, "run");
    text(memory.data(&store), at)
}

/// And on Linux.
fn native(program: &Path, given: &Path) -> String {
    let written = TempDir::new().expect("a directory");
    let output = Command::new(program).args([written.path(), given]).output().expect("runs");
    assert!(output.status.success(), "{:?}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The lines in which two transcripts of as many lines differ.
fn differing<'a>(one: &[&'a str], other: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    assert_eq!(one.len(), other.len(), "{one:#?}\n{other:#?}");
    let pairs = one.iter().copied().zip(other.iter().copied());
    pairs.filter(|(one, other)| one != other).collect()
}

fn check(guest: &str) {
    let dir = TempDir::new().expect("a directory");
    let program = build(guest, dir.path());
    let engine = Engine::default();
    let module = Module::from_file(&engine, &program.wasm).expect("a module");
    let files = files_to_read();
    let given = files.path().join("given");
    let (ours, theirs) = (ours(&engine, &module, &given), theirs(&engine, &module, &given));
    let (ours, theirs): (Vec<_>, Vec<_>) = (ours.lines().collect(), theirs.lines().collect());
    for line in ours.iter().chain(&theirs).filter(|line| line.starts_with(OUT)) {
        assert!(line.contains(": -1 "), "it led out: {line}");
    }
    let inside: Vec<_> = ours.iter().copied().filter(|line| !line.starts_with(OUT)).collect();
    let native = native(&program.native, &given);
    let mut wrong = differing(&inside, &native.lines().collect::<Vec<_>>());
    wrong.retain(|(line, _)| !NOT_LINUX.contains(&(guest, line)));
    assert!(wrong.is_empty(), "not as on Linux, which is on the right: {wrong:#?}");
    let mut rows: Vec<_> = DIFFER.iter().filter(|(of, ..)| *of == guest).collect();
    let mut unknown = differing(&ours, &theirs);
    unknown.retain(|(line, _)| !rows.iter().any(|(_, start, _)| line.starts_with(start)));
    assert!(unknown.is_empty(), "`wasmtime-wasi` is on the right: {unknown:#?}");
    rows.retain(|(_, start, _)| {
        !differing(&ours, &theirs).iter().any(|(line, _)| line.starts_with(start))
    });
    assert!(rows.is_empty(), "these do not differ any more: {rows:#?}");
}

#[test]
fn directories() {
    check("directories");
}

#[test]
fn files() {
    check("files");
}

#[test]
fn paths() {
    check("paths");
}

#[test]
fn renames() {
    check("renames");
}

#[test]
fn waiting() {
    check("waiting");
}

#[test]
fn every_difference_is_in_the_table() {
    let page = include_str!("../../../docs/reference/sandbox.md");
    for (guest, line, what) in DIFFER {
        assert!(page.contains(&format!("\n| {what} |")), "{guest}: {line}: no row `{what}`");
    }
}
