//! One fresh interpreter per call.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use belljar_core::collection::Collection;
use belljar_core::files::{CallFile, CallFiles, InvalidPattern, Patterns};
use belljar_core::outcome::{Failure, FailureKind, Phases};
use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Global, Instance, Memory, Store, TypedFunc, Val};

use crate::answer::{self, Answer};
use crate::engine::{Flavour, TICK};
use crate::error::Error;
use crate::grants::{GrantedAccess, Mount};
use crate::image::{Description, Image};
use crate::limits::Limits;
use crate::memory::with_image;
use crate::wasi::{Errno, Host, Output};

/// Runs Python functions, each call in an interpreter of its own that nothing was ever run in.
///
/// One call at a time; a process may have several. After a call, [`prepare`](Self::prepare) makes the
/// next interpreter while nobody waits; a call finds none makes its own.
#[derive(Debug)]
pub struct Sandbox {
    image: Image,
    mounts: Arc<[Mount]>,
    paths: u32,
    grants: GrantedAccess,
    output: Output,
    /// By image.
    standby: Vec<Option<Ready>>,
    /// The image of the last call, and so probably of the next.
    last: usize,
}

/// An interpreter that waits for its one call.
struct Ready {
    store: Store<Host>,
    memory: Memory,
    stack_pointer: Global,
    allocate: TypedFunc<u32, u32>,
    run: TypedFunc<(u32, u32, u32, u32, u32, u32), u32>,
    answer: TypedFunc<(), u32>,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

impl Sandbox {
    /// A sandbox of `image` that may reach what `grants` says. Has one interpreter standing by.
    ///
    /// # Errors
    /// No interpreter can be started.
    pub fn new(image: &Image, grants: &GrantedAccess, output: Output) -> Result<Self, Error> {
        let mut sandbox = Self {
            image: image.clone(),
            mounts: grants.mounts(&image.mounts),
            paths: u32::try_from(grants.len()).unwrap_or(u32::MAX),
            grants: grants.clone(),
            output,
            standby: image.memories.iter().map(|_| None).collect(),
            last: 0,
        };
        sandbox.prepare()?;
        Ok(sandbox)
    }

    /// What the guest is.
    #[must_use]
    pub fn description(&self) -> &Description {
        self.image.description()
    }

    /// The directories that the guest may read, for who restricts this process to them.
    pub fn directories(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.mounts.iter().chain(&self.grants.dirs).map(|mount| mount.dir.as_fd())
    }

    /// Makes the next call's interpreter, unless one stands by: from the image of the last call.
    ///
    /// # Errors
    /// No interpreter can be started.
    pub fn prepare(&mut self) -> Result<(), Error> {
        if self.standby[self.last].is_none() {
            self.standby[self.last] = Some(self.fresh(self.last).map_err(Error::Instance)?);
        }
        Ok(())
    }

    /// Calls the function pickled in `code` with the `(args, kwargs)` pickled in `args`.
    ///
    /// Whatever the function does is an [`Answer`].
    ///
    /// # Errors
    /// No interpreter can be started.
    pub fn call(&mut self, code: &[u8], args: &[u8], limits: &Limits) -> Result<Answer, Error> {
        let grants = self.grants.clone();
        self.call_granting(code, args, limits, &grants)
    }

    /// Like [`call`](Self::call), with the variables, directories to read, scratch space and files of `grants`
    /// in place of those that the sandbox was made with. What is on `sys.path` stays.
    ///
    /// # Errors
    /// No interpreter can be started.
    pub fn call_granting(
        &mut self,
        code: &[u8],
        args: &[u8],
        limits: &Limits,
        grants: &GrantedAccess,
    ) -> Result<Answer, Error> {
        let start = Instant::now();
        let mut instance_us = 0;
        self.last = self.image.choose(code, args);
        let mut ready = match self.standby[self.last].take() {
            Some(ready) => ready,
            None => {
                let ready = self.fresh(self.last).map_err(Error::Instance)?;
                instance_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                ready
            }
        };
        let minimum = self.image.memories[self.last].minimum();
        ready.limit(limits, minimum, self.image.config.flavour);
        ready.store.data_mut().wasi.files.grant(grants);
        let before = cpu_us();
        let files = grants.files.as_deref();
        let given = files.map_or(Ok(()), |(files, _)| ready.give_files(files));
        let (mut result, mut phases) = match given {
            Ok(()) => ready.call(code, args, grants.environment()),
            Err(failure) => (Err(failure), Phases::default()),
        };
        let mut left = Vec::new();
        if let Some((files, max_bytes)) = files {
            match ready.take_files(files, *max_bytes) {
                Ok(files) => left = files,
                Err(failure) => result = result.and(Err(failure)),
            }
        }
        phases.instance_us = instance_us;
        phases.cpu_us = cpu_us().saturating_sub(before);
        let host = ready.store.data_mut();
        Ok(Answer {
            result,
            phases,
            peak_memory_bytes: host.account.peak as u64,
            denied: std::mem::take(&mut host.wasi.files.denied),
            stdout: std::mem::take(&mut host.wasi.sinks.stdout),
            stderr: std::mem::take(&mut host.wasi.sinks.stderr),
            files: left,
        })
    }

    fn fresh(&self, image: usize) -> wasmtime::Result<Ready> {
        let host = Host::new(Arc::clone(&self.mounts), self.output);
        let pre = &self.image.pre;
        let mut store = Store::new(pre.module().engine(), host);
        store.limiter(|host| &mut host.account);
        if self.image.config.flavour == Flavour::Epoch {
            store.set_epoch_deadline(u64::MAX >> 1);
        }
        let instance = with_image(image, || pre.instantiate(&mut store))?;
        // wasmtime asked for the module's minimum.
        store.data_mut().account.peak = self.image.memories[image].minimum();
        let mut ready = Ready::new(store, &instance)?;
        ready.prepare(&instance, self.paths)?;
        Ok(ready)
    }
}

impl Ready {
    fn new(mut store: Store<Host>, instance: &Instance) -> wasmtime::Result<Self> {
        let missing = |name| wasmtime::Error::msg(format!("the guest has no `{name}`"));
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| missing("memory"))?;
        let stack_pointer = instance.get_global(&mut store, "__stack_pointer");
        let stack_pointer = stack_pointer.ok_or_else(|| missing("__stack_pointer"))?;
        let allocate = instance.get_typed_func(&mut store, "belljar_alloc")?;
        let run = instance.get_typed_func(&mut store, "belljar_run")?;
        let answer = instance.get_typed_func(&mut store, "belljar_answer")?;
        store.data_mut().memory = Some(memory);
        Ok(Self { store, memory, stack_pointer, allocate, run, answer })
    }

    /// What must differ between calls: randomness; and between sandboxes: `sys.path`.
    fn prepare(&mut self, instance: &Instance, paths: u32) -> wasmtime::Result<()> {
        let prepare = instance.get_typed_func::<u32, i32>(&mut self.store, "belljar_prepare")?;
        match prepare.call(&mut self.store, paths)? {
            0 => Ok(()),
            _ => Err(wasmtime::Error::msg("the interpreter could not be seeded")),
        }
    }

    /// Puts the files of a call into its working directory.
    fn give_files(&mut self, files: &CallFiles) -> Result<(), Failure> {
        let Some(scratch) = &mut self.store.data_mut().wasi.files.scratch else {
            let text =
                "files are not granted here: the worker gives sandboxed calls no writable `/tmp`";
            return Err(Failure::by_platform(FailureKind::Denied, text.into()));
        };
        for file in &files.inputs {
            scratch.put(&file.name, &file.bytes).map_err(|errno| {
                let (name, bytes) = (&file.name, file.bytes.len());
                let why = match errno {
                    Errno::NOSPC => {
                        "there is no room left in the call's `/tmp`; ask for a larger `scratch_mb`"
                    }
                    _ => "another file stands in its way",
                };
                let text = format!(
                    "the file `{name}` of {bytes} bytes cannot be given to the call: {why}"
                );
                Failure::by_platform(FailureKind::Limit, text)
            })?;
        }
        Ok(())
    }

    /// The wanted files in the call's working directory, of at most `max_bytes` bytes.
    fn take_files(&self, files: &CallFiles, max_bytes: u64) -> Result<Vec<CallFile>, Failure> {
        let Some(scratch) = &self.store.data().wasi.files.scratch else { return Ok(Vec::new()) };
        let patterns = Patterns::read(&files.outputs);
        let invalid =
            |error: InvalidPattern| Failure::by_platform(FailureKind::Decode, error.to_string());
        let mut collection = Collection::new(patterns.map_err(invalid)?, max_bytes);
        scratch.each(|name, content| {
            let read = || Ok::<_, Infallible>(Bytes::copy_from_slice(content));
            collection.offer(name, content.len() as u64, read)
        })?;
        Ok(collection.finish())
    }

    fn limit(&mut self, limits: &Limits, minimum: usize, flavour: Flavour) {
        /// What a call needs for itself at least, whatever its limit says.
        const HEADROOM: usize = 8 << 20;
        let host = self.store.data_mut();
        host.account.memory_limit = limits.memory_bytes.max(minimum + HEADROOM);
        if let (Flavour::Epoch, Some(time)) = (flavour, limits.time) {
            host.wasi.deadline = Instant::now().checked_add(time);
            let ticks = time.as_nanos().div_ceil(TICK.as_nanos());
            self.store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX >> 1).max(1));
        }
    }

    fn call(&mut self, code: &[u8], args: &[u8], env: &[u8]) -> (Result<Bytes, Failure>, Phases) {
        match self.run(code, args, env) {
            Ok(answer) => answer,
            Err(error) => {
                let stack_pointer = match self.stack_pointer.get(&mut self.store) {
                    Val::I32(value) => value,
                    _ => i32::MAX,
                };
                let account = &self.store.data().account;
                (Err(answer::ended(&error, account, stack_pointer)), Phases::default())
            }
        }
    }

    fn run(
        &mut self,
        code: &[u8],
        args: &[u8],
        env: &[u8],
    ) -> wasmtime::Result<(Result<Bytes, Failure>, Phases)> {
        let env = if env.is_empty() { Some((0, 0)) } else { self.give(env)? };
        let (Some(code), Some(args), Some(env)) = (self.give(code)?, self.give(args)?, env) else {
            let refusal = answer::unanswered(answer::OUT_OF_MEMORY, &self.store.data().account);
            return Ok((Err(refusal), Phases::default()));
        };
        let given = (code.0, code.1, args.0, args.1, env.0, env.1);
        let word = self.run.call(&mut self.store, given)?;
        if word != answer::ANSWERED {
            let refusal = answer::unanswered(word, &self.store.data().account);
            return Ok((Err(refusal), Phases::default()));
        }
        let at = self.answer.call(&mut self.store, ())?;
        let answer = answer::read(self.memory.data(&self.store), at as usize);
        answer.ok_or_else(|| wasmtime::Error::msg("its answer is no answer"))
    }

    /// Copies `bytes` into the guest; `None` where it has no room.
    fn give(&mut self, bytes: &[u8]) -> wasmtime::Result<Option<(u32, u32)>> {
        let Ok(length) = u32::try_from(bytes.len()) else { return Ok(None) };
        let at = self.allocate.call(&mut self.store, length.max(1))?;
        if at == 0 {
            return Ok(None);
        }
        self.memory.write(&mut self.store, at as usize, bytes)?;
        Ok(Some((at, length)))
    }
}

/// The processor time of this thread, which runs the guest, in microseconds.
fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineConfig;
    use crate::source;

    /// Bytes of `ready`'s whole memory that differ from those of an interpreter that never ran a call.
    fn differing(ready: &Ready, untouched: &Ready) -> usize {
        let pair = (ready.memory.data(&ready.store), untouched.memory.data(&untouched.store));
        assert_eq!(pair.0.len(), pair.1.len());
        pair.0.iter().zip(pair.1).filter(|(a, b)| a != b).count()
    }

    #[test]
    fn nothing_of_a_call_is_left_in_any_byte_of_the_next_memory() {
        let image = Image::load(
            crate::image::default_dir(belljar_core::task::PythonVersion::default())
                .expect("a home"),
            &EngineConfig::default(),
        );
        let image = image.expect("a guest");
        let sandbox =
            || Sandbox::new(&image, &GrantedAccess::none(), Output::Inherit).expect("starts");
        let (mut used, untouched) = (sandbox(), sandbox());
        // The one fills little, the other all that is kept, the third grows the memory, the fourth traps.
        for body in [
            "return b'secret' * 3",
            "return len([b'secret%d' % i for i in range(50_000)])",
            "return len(bytearray(b'secret') * 10_000_000)",
            "import os; kept = [b'secret%d' % i for i in range(1000)]; os.abort()",
        ] {
            let code = source::function(&format!("def f(): {body}"), "f");
            let _ = used.call(&code, &source::arguments("[]"), &Limits::default()).expect("runs");
            used.prepare().expect("starts again");
            let pair = (used.standby[0].as_ref(), untouched.standby[0].as_ref());
            let (Some(ready), Some(untouched)) = pair else { panic!("both stand by") };
            let memory = ready.memory.data(&ready.store);
            assert!(!memory.windows(9).any(|bytes| bytes == b"secret123"), "{body}");
            // Their seeds differ: the state of `random`, and the bytes on their way there.
            assert!(differing(ready, untouched) < 4000, "{body}");
        }
    }
}
