//! One fresh interpreter per call.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use belljar_core::outcome::Phases;
use belljar_core::warm::{WarmMode, WarmStart};
use rustix::time::{ClockId, clock_gettime};

use crate::answer::Answer;
use crate::error::Error;
use crate::grants::{GrantedAccess, Mount};
use crate::image::{Description, Image};
use crate::interpreter::{Ready, Starting};
use crate::limits::Limits;
use crate::memory::Memories;
use crate::warm::{Function, FunctionName, WarmFunctions};
use crate::wasi::{Host, Output};

/// Runs Python functions, each call in an interpreter of its own that nothing was ever run in.
///
/// One call at a time; a process may have several. After a call, [`prepare`](Self::prepare) makes the
/// next interpreter while nobody waits; a call finds none makes its own.
#[derive(Debug)]
pub struct Sandbox {
    pub(crate) image: Image,
    mounts: Arc<[Mount]>,
    pub(crate) paths: u32,
    grants: GrantedAccess,
    pub(crate) output: Output,
    /// By image.
    pub(crate) standby: Vec<Option<Ready>>,
    warm: WarmFunctions,
    /// What the last call ran in: it becomes the image again while nobody waits.
    pub(crate) spent: Option<Ready>,
    /// Where the last call started, and so probably the next.
    last: Start,
}

/// What an interpreter starts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// An image of the guest.
    Image(usize),
    /// A function that is unpickled, with its modules imported.
    Function(FunctionName),
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
            warm: WarmFunctions::default(),
            spent: None,
            last: Start::Image(0),
        };
        sandbox.prepare()?;
        Ok(sandbox)
    }

    /// Keeps functions that were slow to start as they are once they are unpickled and have their modules imported, in at
    /// most `bytes` bytes: their next calls start there. To be called before the process restricts itself.
    ///
    /// # Errors
    /// The system gives no such memory.
    pub fn keep_warm(&mut self, bytes: usize) -> Result<(), Error> {
        self.warm.allow(bytes).map_err(|error| Error::Instance(wasmtime::Error::new(error)))
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

    /// Makes the next call's interpreter, unless one stands by: for what the last call started as.
    ///
    /// # Errors
    /// No interpreter can be started.
    pub fn prepare(&mut self) -> Result<(), Error> {
        match self.last {
            Start::Image(index) if self.standby[index].is_none() => {
                let memories = Arc::clone(&self.image.memories[index]);
                self.standby[index] = Some(self.fresh(&memories, self.paths)?);
            }
            Start::Function(name) => {
                if let Some(memories) = self.warm.without_standby(&name) {
                    let ready = self.fresh(&memories, 0)?;
                    self.warm.stand_by(&name, ready);
                }
            }
            Start::Image(_) => {}
        }
        self.spent = None;
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
        let function = Function { code, name: None, warm: WarmMode::Auto };
        self.call_granting(function, args, limits, &grants)
    }

    /// Like [`call`](Self::call), with the variables, directories to read, scratch space and files of `grants`
    /// in place of those that the sandbox was made with. What is on `sys.path` stays.
    ///
    /// # Errors
    /// No interpreter can be started.
    pub fn call_granting(
        &mut self,
        function: Function<'_>,
        args: &[u8],
        limits: &Limits,
        grants: &GrantedAccess,
    ) -> Result<Answer, Error> {
        let start = Instant::now();
        let mode = function.warm;
        let name = function.name.filter(|_| grants.are_bare() && mode != WarmMode::Never);
        if let Some(name) = name
            && self.warm.is_due(&name, mode, limits)
        {
            let image = self.image.choose(function.code, args);
            self.warm_up(name, &function, image, (limits, grants))?;
        }
        self.last = match name {
            Some(name) if self.warm.has(&name) => Start::Function(name),
            _ => Start::Image(self.image.choose(function.code, args)),
        };
        let (mut ready, floor, made) = self.take()?;
        let instance_us = if made { micros(start) } else { 0 };
        ready.limit(limits, floor, self.image.config.flavour);
        ready.store.data_mut().wasi.files.grant(grants);
        let before = cpu_us();
        let code = matches!(self.last, Start::Image(_)).then_some(function.code);
        let mut answer = run(&mut ready, code, args, grants);
        self.spent = Some(ready);
        answer.phases.instance_us = instance_us;
        answer.phases.cpu_us = cpu_us().saturating_sub(before);
        answer.phases.start = match self.last {
            Start::Function(_) => Some(WarmStart::Warm),
            Start::Image(_) if function.name.is_none() => None,
            Start::Image(_) => {
                let phases = &answer.phases;
                let why = self.warm.why_cold(&function, grants.are_bare(), limits, phases);
                if let Some(name) = name {
                    self.warm.note(name, mode, phases);
                }
                why
            }
        };
        Ok(answer)
    }

    /// An interpreter for the call, what it needs at least for itself, and whether it had to be made now.
    fn take(&mut self) -> Result<(Ready, usize, bool), Error> {
        let (standby, memories, paths) = match self.last {
            Start::Image(index) => {
                (self.standby[index].take(), Arc::clone(&self.image.memories[index]), self.paths)
            }
            // Its image has them on `sys.path`.
            Start::Function(name) => {
                let (standby, memories) = self.warm.take(&name).ok_or_else(gone)?;
                (standby, memories, 0)
            }
        };
        let floor = memories.floor();
        match standby {
            Some(ready) => Ok((ready, floor, false)),
            None => Ok((self.fresh(&memories, paths)?, floor, true)),
        }
    }

    /// Unpickles a function and imports its modules in an interpreter that is used for nothing else, and keeps the memory
    /// that this comes to, if calls can start from there.
    fn warm_up(
        &mut self,
        name: FunctionName,
        function: &Function<'_>,
        image: usize,
        (limits, grants): (&Limits, &GrantedAccess),
    ) -> Result<(), Error> {
        let memories = Arc::clone(&self.image.memories[image]);
        let start = Instant::now();
        let starting = self.starting(&memories, Output::Capture(0))?;
        let mut ready = starting.prepare(self.paths).map_err(Error::Instance)?;
        ready.limit(limits, memories.floor(), self.image.config.flavour);
        let files = &mut ready.store.data_mut().wasi.files;
        files.grant(&GrantedAccess::none().scratch(grants.scratch_bytes));
        files.sources = Some(Default::default());
        // It may trap, or end itself: so it will in the call.
        let loaded = ready.load(function.code).unwrap_or(Err(WarmStart::Imports));
        let most = self.warm.most_bytes(function.warm, start.elapsed());
        let sources = ready.store.data_mut().wasi.files.sources.take().unwrap_or_default();
        let memory = ready.memory.data(&ready.store);
        self.warm.keep(name, (&memories, memory), loaded.map(|()| sources), most);
        Ok(())
    }

    /// One that waits for its call: what the last call ran in, where that can be as if nothing had run in it.
    fn fresh(&mut self, memories: &Arc<Memories>, paths: u32) -> Result<Ready, Error> {
        let spent = self.spent.take().filter(|_| self.image.description.renewable);
        let host = || Host::new(Arc::clone(&self.mounts), self.output);
        let flavour = self.image.config.flavour;
        let starting = match spent.and_then(|spent| spent.renewed(memories, host(), flavour)) {
            Some(starting) => starting,
            None => self.starting(memories, self.output)?,
        };
        starting.prepare(paths).map_err(Error::Instance)
    }

    /// One in which nothing has run, to have its memory changed.
    pub(crate) fn starting(
        &self,
        memories: &Arc<Memories>,
        output: Output,
    ) -> Result<Starting, Error> {
        let host = Host::new(Arc::clone(&self.mounts), output);
        let module = self.image.module_of(memories)?;
        let starting = Starting::new(module, host, memories, self.image.config.flavour);
        starting.map_err(Error::Instance)
    }
}

fn gone() -> Error {
    Error::Instance(wasmtime::Error::msg("a function's image is gone"))
}

/// Runs the one call of an interpreter.
pub(crate) fn run(
    ready: &mut Ready,
    code: Option<&[u8]>,
    args: &[u8],
    grants: &GrantedAccess,
) -> Answer {
    let files = grants.files.as_deref();
    let given = files.map_or(Ok(()), |(files, _)| ready.give_files(files));
    let (mut result, phases) = match given {
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
    let host = ready.store.data_mut();
    Answer {
        result,
        phases,
        peak_memory_bytes: host.account.peak as u64,
        denied: std::mem::take(&mut host.wasi.files.denied),
        stdout: std::mem::take(&mut host.wasi.sinks.stdout),
        stderr: std::mem::take(&mut host.wasi.sinks.stderr),
        files: left,
    }
}

pub(crate) fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The processor time of this thread, which runs the guest, in microseconds.
pub(crate) fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineConfig;
    use crate::source;

    fn image() -> Image {
        let minor = belljar_core::task::PythonVersion::default();
        let dir = crate::image::default_dir(minor).expect("a home");
        Image::load(dir, &EngineConfig::default()).expect("a guest")
    }

    /// Bytes of `ready`'s whole memory that differ from those of an interpreter that never ran a call.
    fn differing(ready: &Ready, untouched: &Ready) -> usize {
        let pair = (ready.memory.data(&ready.store), untouched.memory.data(&untouched.store));
        assert_eq!(pair.0.len(), pair.1.len());
        pair.0.iter().zip(pair.1).filter(|(a, b)| a != b).count()
    }

    #[test]
    fn nothing_of_a_call_is_left_in_any_byte_of_the_next_memory() {
        let image = image();
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

    #[test]
    fn an_instance_is_used_again_where_it_has_answered_and_not_grown() {
        let mut sandbox =
            Sandbox::new(&image(), &GrantedAccess::none(), Output::Inherit).expect("starts");
        let mut renewed_after = |body: &str| {
            let code = source::function(&format!("def f(): {body}"), "f");
            let _ = sandbox.call(&code, &source::arguments("[]"), &Limits::default());
            // As a guest would that had been taken over.
            let spent = sandbox.spent.as_mut().expect("a call has ended");
            let (top, store) = (spent.stack_top, &mut spent.store);
            spent.stack_pointer.set(store, wasmtime::Val::I32(top - 4096)).expect("set");
            sandbox.prepare().expect("starts again");
            assert!(sandbox.spent.is_none(), "what is not used again is gone");
            let ready = sandbox.standby[0].as_mut().expect("it stands by");
            assert_eq!(ready.stack_pointer.get(&mut ready.store).unwrap_i32(), top, "{body}");
            ready.calls
        };
        assert_eq!([(); 3].map(|()| renewed_after("return 1")), [1, 2, 3]);
        assert_eq!(renewed_after("raise ValueError"), 4);
        assert_eq!(
            renewed_after("return len(bytearray(10_000_000))"),
            5,
            "more pages than are kept"
        );
        assert_eq!(renewed_after("return len(bytearray(100_000_000))"), 0, "it has grown");
        assert_eq!(renewed_after("return 1"), 1);
        assert_eq!(renewed_after("import os; os.abort()"), 0, "it has not answered");
    }

    #[test]
    fn pages_that_calls_write_no_more_are_given_back() {
        let image = image();
        let mut sandbox =
            Sandbox::new(&image, &GrantedAccess::none(), Output::Inherit).expect("starts");
        let mut own_pages_after = |body: &str, calls: u32| {
            let code = source::function(&format!("def f(): {body}"), "f");
            for _ in 0..calls {
                let _ = sandbox.call(&code, &source::arguments("[]"), &Limits::default());
                sandbox.prepare().expect("starts again");
            }
            let ready = sandbox.standby[0].as_ref().expect("it stands by");
            image.memories[0].written(ready.memory.data(&ready.store)).expect("asked").len()
        };
        // Each of the two memories is used in turn.
        let many = 4 * crate::memory::SWEPT_AFTER;
        let little = own_pages_after("return 1", many);
        let much = own_pages_after("return len([b'%d' % i for i in range(20_000)])", 2);
        assert!(much > little + 100, "{much} after {little}");
        let again = own_pages_after("return 1", many);
        assert!(again < little + 20, "{again} after {much}, {little} at first");
    }
}
