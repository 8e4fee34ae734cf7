//! A sandbox and its parent's end of the channel.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use belljar_core::frame::{self, Call, ChildReply, Done, Ready};
use belljar_core::grants::Granted;
use belljar_core::id::FunctionId;
use belljar_core::invocation::Invocation;
use belljar_core::task::PythonVersion;
use belljar_sandbox::image::default_dir;
use belljar_sandbox::source;
use belljar_testkit::paths;
use bytes::Bytes;

/// The guests that were built, one for each Python: versions and folders.
pub(crate) fn guests() -> Vec<(PythonVersion, PathBuf)> {
    let built = std::fs::read_dir(paths::guests()).expect("a folder of guests");
    let named = built.filter_map(|entry| {
        let entry = entry.expect("an entry");
        Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))
    });
    named.collect()
}

/// A running `belljar-sandbox`.
pub(crate) struct SandboxChild {
    child: Child,
    channel: UnixStream,
    ready: Ready,
}

impl SandboxChild {
    /// Starts one; `paths` are its `--python-path`.
    pub(crate) fn start(paths: &[&Path]) -> Self {
        Self::start_offering(paths, &[])
    }

    /// Starts one with the guest in the folder `guest`.
    pub(crate) fn start_in(guest: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_belljar-sandbox"));
        command.arg("--guest").arg(guest);
        Self::allow_weak(&mut command);
        Self::spawn(command)
    }

    /// Starts one that may also grant the directories `read`.
    pub(crate) fn start_offering(paths: &[&Path], read: &[&Path]) -> Self {
        let mut command = Self::command(paths, read);
        Self::allow_weak(&mut command);
        Self::spawn(command)
    }

    /// What a machine without landlock has for this: the same as for a worker.
    fn allow_weak(command: &mut Command) {
        if std::env::var_os("BELLJAR_ALLOW_WEAK_SANDBOX").is_some() {
            command.arg("--allow-weak-sandbox");
        }
    }

    /// The command that starts one.
    pub(crate) fn command(paths: &[&Path], read: &[&Path]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_belljar-sandbox"));
        command.arg("--guest").arg(default_dir(PythonVersion::default()).expect("a home"));
        for path in paths {
            command.arg("--python-path").arg(path);
        }
        for dir in read {
            command.arg("--grant-read").arg(dir);
        }
        command
    }

    /// Starts one by `command`.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        ours.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        let fd = theirs.as_raw_fd();
        #[expect(unsafe_code, reason = "dup2 is the way to hand over a descriptor by number")]
        // SAFETY: only dup2, which is safe between fork and exec.
        unsafe {
            command.pre_exec(move || match libc::dup2(fd, frame::CHILD_FD) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        let child = command.spawn().expect("the sandbox starts");
        drop(theirs);
        let mut channel = ours;
        match frame::read(&mut channel).expect("a frame") {
            Some(ChildReply::Ready(ready)) => Self { child, channel, ready },
            other => panic!("{other:?} is not Ready"),
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Its first message.
    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Calls `f` of `source` with the JSON list `arguments`, at most `memory_mb` MiB.
    pub(crate) fn call_within(&mut self, source: &str, arguments: &str, memory_mb: u32) -> Done {
        self.call_granting(source, arguments, memory_mb, None)
    }

    /// Calls it with grants.
    pub(crate) fn call_granting(
        &mut self,
        source: &str,
        arguments: &str,
        memory_mb: u32,
        granted: Option<Granted>,
    ) -> Done {
        let mut invocation = invocation(source, arguments);
        invocation.spec.limits.memory_mb = memory_mb;
        self.run(invocation, granted)
    }

    /// What `f` of `source` returns, as JSON, where it is the function `id`.
    pub(crate) fn value_of(&mut self, id: FunctionId, source: &str) -> String {
        let mut invocation = invocation(source, "[]");
        invocation.spec.function_id = id;
        let pickle = self
            .run(invocation, None)
            .result
            .unwrap_or_else(|raised| panic!("{}", raised.traceback));
        source::json(&pickle).expect("JSON").to_owned()
    }

    fn run(&mut self, invocation: Invocation, granted: Option<Granted>) -> Done {
        let (nonce, granted) = (frame::nonce(), granted.map(Box::new));
        let (max_result_bytes, folder) = (1 << 20, None);
        let call = Call { nonce, invocation, evict: true, granted, max_result_bytes, folder };
        frame::write(&mut self.channel, &call).expect("written");
        match frame::read(&mut self.channel).expect("a frame") {
            Some(ChildReply::Done(done)) if done.nonce == nonce => done,
            other => panic!("{other:?} is not the answer"),
        }
    }

    /// Calls `f` of `source` without arguments.
    pub(crate) fn call(&mut self, source: &str) -> Done {
        self.call_within(source, "[]", 256)
    }

    /// What `f` of `source` returns, as JSON.
    pub(crate) fn value(&mut self, source: &str) -> String {
        let done = self.call(source);
        let pickle = done.result.unwrap_or_else(|raised| panic!("{}", raised.traceback));
        source::json(&pickle).expect("JSON").to_owned()
    }

    /// Checks that the next call returns the right value.
    pub(crate) fn is_right(&mut self) {
        assert_eq!(self.value("def f(): return [len('abc'), 6 * 7]"), "[3, 42]");
    }
}

fn invocation(source: &str, arguments: &str) -> Invocation {
    let code = Bytes::from(source::function(source, "f"));
    let class = "sandbox:3.11".parse().expect("a class");
    Invocation::standalone(class, code, source::arguments(arguments).into())
}

impl Drop for SandboxChild {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
