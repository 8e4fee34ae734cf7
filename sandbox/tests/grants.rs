//! What a call reaches that was granted, and that the next call, granted nothing, does not.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "shared with tests that use other parts of it")]
mod common;

use belljar_core::access::{DENIED, Denied, DeniedKind};
use belljar_core::grants::Granted;
use belljar_sandbox::source;
use common::SandboxChild;

/// What `f` of `source` returns, granted `granted`, as JSON.
#[track_caller]
fn value(sandbox: &mut SandboxChild, source: &str, granted: Granted) -> String {
    let done = sandbox.call_granting(source, "[]", 256, Some(granted));
    let pickle = done.result.unwrap_or_else(|raised| panic!("{}", raised.traceback));
    source::json(&pickle).expect("JSON").to_owned()
}

#[test]
fn variables_are_seen_by_their_call_alone() {
    let mut sandbox = SandboxChild::start(&[]);
    let source = "import os\ndef f(): return dict(os.environ)";
    let env = vec![("A".to_owned(), "1=2".to_owned()), ("B".to_owned(), "ü".to_owned())];
    let granted = Granted { env, ..Granted::default() };
    assert_eq!(value(&mut sandbox, source, granted), r#"{"A": "1=2", "B": "\u00fc"}"#);
    assert_eq!(sandbox.value(source), "{}");
}

#[test]
fn a_directory_is_read_under_its_own_path_and_nothing_beside_it() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("given")).expect("created");
    std::fs::write(dir.path().join("given/data"), "seen").expect("written");
    std::fs::write(dir.path().join("secret"), "unseen").expect("written");
    std::os::unix::fs::symlink("../secret", dir.path().join("given/link")).expect("linked");
    let given = dir.path().join("given");
    let mut sandbox = SandboxChild::start_offering(&[], &[&given]);
    let name = given.to_str().expect("UTF-8").to_owned();
    let granted = || Granted { read: vec![name.clone()], ..Granted::default() };

    let read = format!(
        "import os\ndef f(): return [open('{name}/data').read(), sorted(os.listdir('{name}'))]"
    );
    assert_eq!(value(&mut sandbox, &read, granted()), r#"["seen", ["data", "link"]]"#);
    for reach in [
        format!("open('{name}/link')"),
        format!("open('{name}/../secret')"),
        format!("open('{name}/data', 'w')"),
        format!("open('{name}/new', 'x')"),
        format!("os.mkdir('{name}/new')"),
        format!("os.remove('{name}/data')"),
        format!("os.rename('{name}/data', '{name}/other')"),
        format!("os.listdir('{name}/..')"),
    ] {
        let source = format!(
            "import os\ndef f():\n  try: {reach}\n  except PermissionError: return 'refused'"
        );
        assert_eq!(value(&mut sandbox, &source, granted()), "\"refused\"", "{reach}");
    }
    assert_eq!(std::fs::read(given.join("data")).expect("still there"), b"seen");
    let ungranted =
        format!("def f():\n  try: open('{name}/data')\n  except PermissionError: return 'refused'");
    assert_eq!(sandbox.value(&ungranted), "\"refused\"");
}

const USE_SCRATCH: &str = "
import csv, os, shutil, tempfile, time
def f():
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, 'rows.csv')
        with open(path, 'w', newline='') as out: csv.writer(out).writerows([[1, 2], [3, 4]])
        with open(path, 'a') as out: out.write('5,6\\n')
        with open(path, 'r+') as both:
            both.seek(0); both.write('9'); both.seek(0)
            text = both.read()
        os.makedirs(work + '/a/b')
        os.rename(path, work + '/a/b/moved.csv')
        size = os.stat(work + '/a/b/moved.csv').st_size
        os.utime(work + '/a/b/moved.csv', (5, 6))
        assert os.stat(work + '/a/b/moved.csv').st_mtime == 6
        os.utime(work + '/a/b/moved.csv')
        assert abs(os.stat(work + '/a/b/moved.csv').st_mtime - time.time()) < 60
        shutil.copyfile(work + '/a/b/moved.csv', work + '/copy')
        names = sorted(os.listdir(work))
        with tempfile.TemporaryFile() as unnamed:
            unnamed.write(b'x' * 100); unnamed.truncate(10); unnamed.seek(0, 2)
            end = unnamed.tell()
        assert not os.path.exists(path)
    return [text, size, names, end, os.listdir('/tmp')]
";

#[test]
fn scratch_space_is_a_directory_like_any_other() {
    let mut sandbox = SandboxChild::start(&[]);
    let granted = || Granted { scratch_mb: 4, ..Granted::default() };
    let expected = r#"["9,2\n3,4\n5,6\n", 14, ["a", "copy"], 10, []]"#;
    let used = value(&mut sandbox, USE_SCRATCH, granted());
    assert_eq!(used.replace("\\r", ""), expected);
    let leave = "def f(): return open('/tmp/left', 'w').write('x')";
    assert_eq!(value(&mut sandbox, leave, granted()), "1");
    let look = "import os\ndef f(): return os.listdir('/tmp')";
    assert_eq!(
        value(&mut sandbox, look, granted()),
        "[]",
        "what one call wrote is gone for the next"
    );
    let refused =
        "def f():\n  try: open('/tmp/x', 'w')\n  except PermissionError: return 'refused'";
    assert_eq!(sandbox.value(refused), "\"refused\"");
}

const FILL: &str = "
import os
def f():
    try:
        with open('/tmp/big', 'wb', buffering=0) as out:
            while True: out.write(b'x' * 65536)
    except OSError as error: full = error.errno == __import__('errno').ENOSPC
    size = os.stat('/tmp/big').st_size
    os.remove('/tmp/big')
    for made in range(100_000):
        try: open(f'/tmp/{made}', 'w').close()
        except OSError: break
    return [full, size <= 1 << 20, size > 900_000, made < 5000]
";

#[test]
fn scratch_space_ends_at_its_limit() {
    let mut sandbox = SandboxChild::start(&[]);
    let granted = Granted { scratch_mb: 1, ..Granted::default() };
    assert_eq!(value(&mut sandbox, FILL, granted), "[true, true, true, true]");
    sandbox.is_right();
}

const REFUSED: &str = "
def f():
    import os, socket, threading
    def tried(call):
        try: call()
        except (OSError, RuntimeError): return
        raise AssertionError(call)
    for _ in range(2): tried(lambda: open('/etc/passwd'))
    tried(lambda: os.listdir('/srv/data'))
    tried(lambda: open('/out.csv', 'w'))
    tried(lambda: socket.create_connection(('api.example.com', 443)))
    tried(socket.socket)
    tried(threading.Thread(target=print).start)
    tried(lambda: os.system('true'))
    return os.environ['REGION']
";

#[test]
fn what_a_call_is_refused_is_told_once_and_not_of_the_next() {
    let mut sandbox = SandboxChild::start(&[]);
    let done = sandbox.call(REFUSED);
    let failure = done.result.expect_err("the variable is not there");
    assert!(failure.message.starts_with("KeyError"), "{}", failure.traceback);
    assert!(failure.traceback.contains("options(env=[\"REGION\"])"), "{}", failure.traceback);
    let expected = [
        (DeniedKind::Read, "/etc/passwd"),
        (DeniedKind::Read, "/srv/data/"),
        (DeniedKind::Write, "/out.csv"),
        (DeniedKind::Network, "api.example.com:443"),
        (DeniedKind::Network, ""),
        (DeniedKind::Thread, ""),
        (DeniedKind::Process, ""),
        (DeniedKind::Env, "REGION"),
    ];
    let expected = expected.map(|(kind, name)| Denied { kind, name: name.to_owned() });
    assert_eq!(done.denied, expected);
    assert_eq!(sandbox.call("import json\ndef f(): return json.dumps([1])").denied, []);
    let missing = sandbox.call("def f():\n  import nowhere.at_all");
    assert_eq!(missing.denied, [Denied { kind: DeniedKind::Module, name: "nowhere".to_owned() }]);
    let many =
        "def f():\n  for i in range(100):\n    try: open(f'/x{i}')\n    except OSError: pass";
    assert_eq!(sandbox.call(many).denied.len(), DENIED);
}
