//! The second wall: what a process of the sandbox is refused, tried by system calls that are made in one that
//! runs, and what it does where the kernel does not hold it.

#![cfg(target_arch = "x86_64")]
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

#[expect(dead_code, reason = "shared with tests that use other parts of it")]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use belljar_testkit::injection::attacks::{self, Wall};
use common::SandboxChild;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// What a kernel without landlock lacks, and one that gives nobody a user namespace or mounts.
const LANDLOCK: i64 = libc::SYS_landlock_create_ruleset;
const NAMESPACES: i64 = libc::SYS_unshare;

/// Has the command run as under a kernel without the system calls `missing`.
fn without(missing: &[i64], command: &mut Command) {
    let rules: BTreeMap<_, _> = missing.iter().map(|&call| (call, Vec::new())).collect();
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().expect("known");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, absent, arch).expect("made");
    let program: BpfProgram = filter.try_into().expect("a program");
    #[expect(unsafe_code, reason = "the filter is for the child alone")]
    // SAFETY: two system calls, without allocation.
    unsafe {
        command.pre_exec(move || {
            seccompiler::apply_filter(&program).map_err(|_| ErrorKind::Other.into())
        });
    }
}

/// Attacks a process without the system calls `missing`, which has these walls.
fn attack(missing: &[i64], walls: &[Wall]) {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    fs::write(&data, "untouched").expect("written");
    let mut command = SandboxChild::command(&[], &[dir.path()]);
    command.arg("--allow-weak-sandbox");
    if !missing.is_empty() {
        without(missing, &mut command);
    }
    let mut sandbox = SandboxChild::spawn(command);
    sandbox.is_right();
    let outcome = match attacks::run(sandbox.pid(), dir.path(), walls) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            eprintln!(
                "SKIPPED: this user may not trace processes ({error}), so nothing is attacked"
            );
            return;
        }
        outcome => outcome.expect("an outcome"),
    };
    assert_eq!(outcome.got_through, Vec::<String>::new(), "of {}", outcome.tries);
    assert!(outcome.tries > 100, "{outcome:?}");
    assert_eq!(fs::read(&data).expect("still there"), b"untouched");
    assert_eq!(fs::read_dir(dir.path()).expect("still there").count(), 1, "nothing new");
    sandbox.is_right();
}

#[test]
fn nothing_gets_through() {
    attack(&[], &[Wall::Filter, Wall::Files, Wall::Tree]);
}

#[test]
fn without_landlock_the_file_tree_holds() {
    attack(&[LANDLOCK], &[Wall::Filter, Wall::Files, Wall::Tree]);
}

#[test]
fn without_namespaces_landlock_holds() {
    attack(&[NAMESPACES], &[Wall::Filter, Wall::Files]);
}

#[test]
fn without_both_the_filter_holds() {
    attack(&[LANDLOCK, NAMESPACES], &[Wall::Filter]);
}

/// What `--walls` says, with these calls missing: the exit code, and what it prints.
fn walls(missing: &[i64], options: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_belljar-sandbox"));
    command.arg("--walls").args(options).stdin(Stdio::null());
    without(missing, &mut command);
    let output = command.output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("UTF-8"))
}

#[test]
fn a_weak_sandbox_is_refused_unless_allowed() {
    let (code, text) = walls(&[LANDLOCK], &[]);
    assert_eq!(code, Some(77), "{text}");
    assert!(
        text.contains("from the files of this user: landlock: none; own file tree: yes"),
        "{text}"
    );
    assert_eq!(walls(&[LANDLOCK], &["--allow-weak-sandbox"]).0, Some(0));
    let (code, text) = walls(&[LANDLOCK, NAMESPACES], &[]);
    assert_eq!(code, Some(77), "{text}");
    assert!(text.contains("landlock: none; own file tree: no"), "{text}");

    let mut command = SandboxChild::command(&[], &[]);
    without(&[LANDLOCK], &mut command);
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(77), "{output:?}");
}

#[test]
fn a_process_has_no_capability_and_no_namespace_of_the_machine() {
    let mut sandbox = SandboxChild::start(&[]);
    sandbox.is_right();
    let process = format!("/proc/{}", sandbox.pid());
    for thread in fs::read_dir(format!("{process}/task")).expect("it runs") {
        let status = fs::read_to_string(thread.expect("an entry").path().join("status"));
        let status = status.expect("it runs");
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            // A user without privileges cannot empty the bounding set, and gains nothing by it.
            if set != "CapBnd:" || rustix::process::geteuid().is_root() {
                assert_eq!(field(set), Some("0000000000000000"), "{set}");
            }
        }
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), (Some("1"), Some("2")));
    }
    if walls(&[], &["--allow-weak-sandbox"]).1.contains("own file tree: no") {
        eprintln!("SKIPPED: this machine gives no namespaces");
        return;
    }
    for kind in ["user", "mnt"] {
        let of = |process: &str| fs::read_link(Path::new(process).join("ns").join(kind));
        if let Ok(theirs) = of(&process) {
            assert_ne!(theirs, of("/proc/self").expect("ours"), "{kind}");
        }
    }
}
