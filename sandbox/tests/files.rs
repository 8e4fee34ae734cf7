//! Files in a sandboxed call behave as files of Linux: the same function, natively and in the sandbox, sees
//! the same, error numbers among it.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "shared with tests that use other parts of it")]
mod common;

use std::process::{Command, Stdio};

use belljar_core::grants::Granted;
use belljar_sandbox::source;
use common::SandboxChild;

/// `f` looks at files in the directory `T`, which is empty and may be written. What raises an `OSError` is
/// seen as its class and number.
const FILES: &str = r#"
import errno, io, os, select, shutil

def said(call, *args, **more):
    try: return call(*args, **more)
    except OSError as error: return [type(error).__name__, error.errno, errno.errorcode[error.errno]]

def write(path, data, mode='w'):
    with open(path, mode) as file: file.write(data)

def f():
    p = lambda name: T + '/' + name
    seen = {}
    write(p('file'), 'hello')
    os.mkdir(p('dir'))

    seen['slash'] = [said(call, p('file') + '/') for call in (os.stat, open, os.unlink, os.listdir, os.rmdir)]
    seen['below a file'] = said(os.stat, p('file/x'))
    seen['nothing'] = [said(call, p('nothing')) for call in (os.stat, open, os.unlink, os.listdir, os.rmdir)]
    seen['readlink'] = [said(os.readlink, p(name)) for name in ('file', 'dir', 'nothing')]
    seen['exists'] = [said(os.mkdir, p('dir')), said(open, p('file'), 'x')]
    seen['wrong kind'] = [said(os.rmdir, p('file')), said(open, p('dir'), 'w'), said(os.listdir, p('file'))]
    write(p('dir/inner'), 'x')
    seen['not empty'] = [said(os.rmdir, p('dir')), said(os.rename, p('dir'), p('dir/inner/x'))]
    seen['into itself'] = said(os.rename, p('dir'), p('dir/sub'))
    seen['long'] = said(open, p('n' * 256), 'w')
    seen['directory'] = said(os.open, p('file'), os.O_RDONLY | os.O_DIRECTORY)

    closed = os.open(p('file'), os.O_RDONLY)
    os.close(closed)
    seen['closed'] = [said(call, closed) for call in (os.fsync, os.fstat, os.close)]
    seen['closed'] += [said(os.read, closed, 1), said(os.write, closed, b'x'), said(os.lseek, closed, 0, 0)]
    seen['select'] = said(select.select, [closed], [], [], 0)
    fd = os.open(p('file'), os.O_RDONLY)
    seen['only read'] = [said(os.write, fd, b'x'), said(os.ftruncate, fd, 1)]
    seen['places'] = [os.lseek(fd, 2, 0), os.pread(fd, 3, 1).decode(), os.read(fd, 2).decode(), said(os.lseek, fd, -9, 0)]
    seen['fsync'] = [said(os.fsync, fd), os.close(fd)]
    fd = os.open(p('dir'), os.O_RDONLY)
    seen['read a directory'] = [said(os.read, fd, 1), said(os.fsync, fd), os.close(fd)]

    fd = os.open(p('log'), os.O_RDWR | os.O_CREAT | os.O_APPEND)
    os.write(fd, b'one'); os.lseek(fd, 0, 0); os.write(fd, b'two'); os.pwrite(fd, b'three', 0)
    seen['append'] = [os.pread(fd, 100, 0).decode(), os.lseek(fd, 0, 1)]
    os.close(fd)
    fd = os.open(p('holes'), os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b'', 50)
    seen['an empty write'] = os.fstat(fd).st_size
    os.pwrite(fd, b'x', 5); os.ftruncate(fd, 8)
    seen['holes'] = list(os.pread(fd, 100, 0))
    os.close(fd)

    os.utime(p('file'), (1_000_000_000, 1_100_000_000))
    seen['times'] = [os.stat(p('file')).st_atime, os.stat(p('file')).st_mtime]
    shutil.copystat(p('file'), p('holes'))
    seen['copied times'] = os.stat(p('holes')).st_mtime

    names = [entry.name for entry in os.scandir(p('dir'))]
    with os.scandir(p('dir')) as before:
        write(p('dir/second'), 'x')
        os.remove(p('dir/inner'))
    seen['listed'] = [names, os.listdir(p('dir'))]
    os.mkdir(p('many'))
    for number in range(300): write(p(f'many/{number:03}'), '')
    seen['many'] = [len(os.listdir(p('many'))), len({entry.name for entry in os.scandir(p('many'))})]
    shutil.rmtree(p('many'))
    seen['gone'] = said(os.listdir, p('many'))
    with open(p('lines'), 'w+') as file:
        file.writelines(f'{number}\n' for number in range(5000))
        file.seek(0)
        seen['lines'] = sum(map(int, file))
    with open(p('lines'), 'r+b', buffering=0) as file:
        parts = [bytearray(7), bytearray(9)]
        seen['raw'] = [file.readinto(parts[0]), file.readinto(parts[1]), (parts[0] + parts[1]).decode()]
    seen['stdin'] = said(os.pread, 0, 1, 0)
    return seen
"#;

/// Each number with its name and the class of its exception.
const NUMBERS: &str = "
import errno, socket
def f():
    numbers = {name: number for name, number in vars(errno).items() if name[0] == 'E'}
    for name in 'ADDRFAMILY AGAIN BADFLAGS FAIL FAMILY MEMORY NODATA NONAME OVERFLOW SERVICE SOCKTYPE SYSTEM'.split():
        numbers[name] = getattr(socket, 'EAI_' + name)
    return {name: [number, type(OSError(number, '')).__name__] for name, number in numbers.items()}
";

/// What the interpreter that functions are written for sees, as JSON.
fn natively(source: &str) -> String {
    let print = format!("{source}\nimport json; print(json.dumps(f(), sort_keys=True))");
    let python = std::env::var("BELLJAR_TEST_PYTHON").unwrap_or_else(|_| "python3.11".to_owned());
    let mut command = Command::new(python);
    // Of the kind that the sandbox's is: one without places.
    command.args(["-c", &print]).stdin(Stdio::piped());
    let output = command.output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("JSON").trim().to_owned()
}

fn in_the_sandbox(source: &str) -> String {
    let mut sandbox = SandboxChild::start(&[]);
    let granted = Granted { scratch_mb: 16, ..Granted::default() };
    let sorted = format!(
        "{source}\nunsorted = f\ndef f():\n    import json\n    return json.dumps(unsorted(), sort_keys=True)"
    );
    let done = sandbox.call_granting(&sorted, "[]", 256, Some(granted));
    let pickle = done.result.unwrap_or_else(|raised| panic!("{}", raised.traceback));
    // The text of a text.
    let text = source::json(&pickle).expect("JSON");
    serde_json::from_str(text).expect("a text")
}

#[test]
fn files_are_as_those_of_linux() {
    let dir = tempfile::tempdir().expect("a directory");
    let native = natively(&format!("T = {:?}\n{FILES}", dir.path()));
    let sandboxed = in_the_sandbox(&format!("T = '/tmp'\n{FILES}"));
    let read = |json| serde_json::from_str::<serde_json::Map<_, _>>(json).expect("an object");
    for (name, expected) in read(&native) {
        assert_eq!(read(&sandboxed)[&name], expected, "{name}");
    }
}

#[test]
fn an_error_has_the_number_and_the_class_that_linux_gives_it() {
    let read = |json: &str| serde_json::from_str::<serde_json::Map<_, _>>(json).expect("an object");
    let (native, sandboxed) = (read(&natively(NUMBERS)), read(&in_the_sandbox(NUMBERS)));
    assert!(sandboxed.len() > 70, "{}", sandboxed.len());
    for (name, seen) in sandboxed {
        assert_eq!(Some(&seen), native.get(&name), "{name}");
    }
    let texts = "import errno, os\ndef f(): return [os.strerror(errno.EACCES), os.strerror(errno.ENOENT), os.strerror(errno.EBADF)]";
    assert_eq!(in_the_sandbox(texts), natively(texts).replace("'", "\""));
}

/// What a client gets is the exception's pickle: its number must mean the same here.
#[test]
fn an_exception_leaves_the_sandbox_as_what_it_is() {
    let mut sandbox = SandboxChild::start(&[]);
    let raised = sandbox.call("def f(): open('/etc/passwd')").result.expect_err("denied");
    assert_eq!(raised.message, "PermissionError: [Errno 13] Permission denied: '/etc/passwd'");
    let pickled = "
import pickle
def f():
    try: open('/etc/passwd')
    except OSError as error: return [list(error.args), type(pickle.loads(pickle.dumps(OSError(*error.args)))).__name__]";
    assert_eq!(sandbox.value(pickled), r#"[[13, "Permission denied"], "PermissionError"]"#);
}
