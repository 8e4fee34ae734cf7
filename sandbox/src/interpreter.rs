//! One interpreter: started, waiting for its one call, and what that comes to.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use belljar_core::collection::Collection;
use belljar_core::files::{CallFile, CallFiles, InvalidPattern, Patterns};
use belljar_core::outcome::{Failure, FailureKind, Phases};
use belljar_core::warm::WarmStart;
use bytes::Bytes;
use wasmtime::{Global, Instance, InstancePre, Memory, Store, TypedFunc, Val};

use crate::answer;
use crate::engine::{Flavour, TICK};
use crate::limits::Limits;
use crate::memory::{Memories, with_image};
use crate::wasi::{Errno, Host, Sources};

/// What a call needs for itself at least, whatever its limit says.
pub(crate) const HEADROOM: usize = 8 << 20;

/// The unit in which memories grow.
const WASM_PAGE: usize = 64 << 10;

/// An interpreter that waits for its one call.
pub(crate) struct Ready {
    pub(crate) store: Store<Host>,
    pub(crate) memory: Memory,
    pub(crate) stack_pointer: Global,
    allocate: TypedFunc<u32, u32>,
    load: TypedFunc<(u32, u32), u32>,
    run: TypedFunc<(u32, u32, u32, u32, u32, u32), u32>,
    answer: TypedFunc<(), u32>,
    settle: Option<TypedFunc<(), ()>>,
    prepare: TypedFunc<u32, i32>,
    /// What its memory began as.
    memories: Arc<Memories>,
    /// Where the stack is empty.
    pub(crate) stack_top: i32,
    /// How many calls its instance has answered before.
    pub(crate) calls: u32,
    /// Whether its call has come back with an answer: another may follow.
    pub(crate) is_intact: bool,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

/// An interpreter in which nothing has run yet.
pub(crate) struct Starting {
    pub(crate) ready: Ready,
}

impl Starting {
    /// One whose memory is the image of `memories`.
    pub(crate) fn new(
        pre: &InstancePre<Host>,
        host: Host,
        memories: &Arc<Memories>,
        flavour: Flavour,
    ) -> wasmtime::Result<Self> {
        let mut store = Store::new(pre.module().engine(), host);
        store.limiter(|host| &mut host.account);
        let instance = with_image(memories, || pre.instantiate(&mut store))?;
        Ok(Self::of(Ready::new(store, &instance, memories)?, flavour))
    }

    /// One whose instance has run nothing, or is as if it had not.
    fn of(mut ready: Ready, flavour: Flavour) -> Self {
        if flavour == Flavour::Epoch {
            ready.store.set_epoch_deadline(u64::MAX >> 1);
        }
        let host = ready.store.data_mut();
        host.memory = Some(ready.memory);
        // wasmtime asked for the module's minimum.
        host.account.peak = ready.memories.minimum();
        Self { ready }
    }

    /// Has its memory be of `bytes` bytes, unless it is larger.
    pub(crate) fn grow(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let Ready { store, memory, .. } = &mut self.ready;
        let more = bytes.saturating_sub(memory.data_size(&*store));
        if more > 0 {
            memory.grow(store, more.div_ceil(WASM_PAGE) as u64)?;
        }
        Ok(())
    }

    /// Makes what must differ between calls: randomness; and between sandboxes: `sys.path`.
    pub(crate) fn prepare(self, paths: u32) -> wasmtime::Result<Ready> {
        let Self { mut ready } = self;
        match ready.prepare.call(&mut ready.store, paths)? {
            0 => Ok(ready),
            _ => Err(wasmtime::Error::msg("the interpreter could not be seeded")),
        }
    }
}

impl Ready {
    fn new(
        mut store: Store<Host>,
        instance: &Instance,
        memories: &Arc<Memories>,
    ) -> wasmtime::Result<Self> {
        let missing = |name| wasmtime::Error::msg(format!("the guest has no `{name}`"));
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| missing("memory"))?;
        let stack_pointer = instance.get_global(&mut store, "__stack_pointer");
        let stack_pointer = stack_pointer.ok_or_else(|| missing("__stack_pointer"))?;
        let allocate = instance.get_typed_func(&mut store, "belljar_alloc")?;
        let load = instance.get_typed_func(&mut store, "belljar_load")?;
        let run = instance.get_typed_func(&mut store, "belljar_run")?;
        let answer = instance.get_typed_func(&mut store, "belljar_answer")?;
        let settle = instance.get_typed_func(&mut store, "belljar_settle").ok();
        let prepare = instance.get_typed_func(&mut store, "belljar_prepare")?;
        let (memories, stack_top) =
            (Arc::clone(memories), stack_pointer.get(&mut store).unwrap_i32());
        Ok(Self {
            store,
            memory,
            stack_pointer,
            allocate,
            load,
            run,
            answer,
            settle,
            prepare,
            memories,
            stack_top,
            calls: 0,
            is_intact: false,
        })
    }

    /// The same instance as if nothing had run in it, with its memory the image of `memories` again; `None` where it has another
    /// one, did not answer or has grown. To be asked only where the build has found that an instance has no other state.
    pub(crate) fn renewed(
        mut self,
        memories: &Arc<Memories>,
        host: Host,
        flavour: Flavour,
    ) -> Option<Starting> {
        let memory = self.memory.data_mut(&mut self.store);
        let fits = Arc::ptr_eq(&self.memories, memories) && memory.len() == memories.minimum();
        if !(fits && self.is_intact) {
            return None;
        }
        memories.restore(memory, &mut self.calls).ok()?;
        self.stack_pointer.set(&mut self.store, Val::I32(self.stack_top)).ok()?;
        *self.store.data_mut() = host;
        self.is_intact = false;
        Some(Starting::of(self, flavour))
    }

    /// Puts the files of a call into its working directory.
    pub(crate) fn give_files(&mut self, files: &CallFiles) -> Result<(), Failure> {
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
    pub(crate) fn take_files(
        &self,
        files: &CallFiles,
        max_bytes: u64,
    ) -> Result<Vec<CallFile>, Failure> {
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

    pub(crate) fn limit(&mut self, limits: &Limits, minimum: usize, flavour: Flavour) {
        let host = self.store.data_mut();
        host.account.memory_limit = limits.memory_bytes.max(minimum + HEADROOM);
        if let (Flavour::Epoch, Some(time)) = (flavour, limits.time) {
            host.wasi.deadline = Instant::now().checked_add(time);
            let ticks = time.as_nanos().div_ceil(TICK.as_nanos());
            self.store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX >> 1).max(1));
        }
    }

    /// Unpickles the function in `code` and imports what it names. If that left nothing but memory behind, every call of the
    /// function can start from it; else this is why not.
    pub(crate) fn load(&mut self, code: &[u8]) -> wasmtime::Result<Result<(), WarmStart>> {
        let stack_pointer = self.stack_pointer.get(&mut self.store).i32();
        let random_reads = self.store.data().wasi.random_reads;
        let Some(code) = self.give(code)? else { return Ok(Err(WarmStart::Memory)) };
        let is_clean = self.load.call(&mut self.store, code)? == 1;
        let is_back = self.stack_pointer.get(&mut self.store).i32() == stack_pointer;
        let Host { wasi, account, .. } = self.store.data();
        Ok(if wasi.sinks.stdout.total_bytes + wasi.sinks.stderr.total_bytes > 0 {
            Err(WarmStart::Prints)
        } else if account.refusals > 0 {
            Err(WarmStart::Memory)
        } else if !wasi.files.is_untouched() {
            Err(WarmStart::Files)
        } else if wasi.random_reads != random_reads {
            Err(WarmStart::Random)
        } else if wasi.files.sources.as_ref().is_some_and(Sources::is_cut) {
            Err(WarmStart::Sources)
        } else if is_clean && is_back {
            Ok(())
        } else {
            Err(WarmStart::Imports)
        })
    }

    /// Calls the function pickled in `code`, or where there is none the one that the image has, with the arguments pickled
    /// in `args`.
    pub(crate) fn call(
        &mut self,
        code: Option<&[u8]>,
        args: &[u8],
        env: &[u8],
    ) -> (Result<Bytes, Failure>, Phases) {
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
        code: Option<&[u8]>,
        args: &[u8],
        env: &[u8],
    ) -> wasmtime::Result<(Result<Bytes, Failure>, Phases)> {
        let env = if env.is_empty() { Some((0, 0)) } else { self.give(env)? };
        let code = code.map_or(Ok(Some((0, 0))), |code| self.give(code))?;
        let (Some(code), Some(args), Some(env)) = (code, self.give(args)?, env) else {
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
        self.is_intact = answer.is_some();
        answer.ok_or_else(|| wasmtime::Error::msg("its answer is no answer"))
    }

    /// Drops what belonged to the call alone, where another goes on from what it has left.
    pub(crate) fn settle(&mut self) -> wasmtime::Result<()> {
        let settle = self.settle.clone();
        let missing = || wasmtime::Error::msg("the guest has no sessions");
        self.is_intact = false;
        settle.ok_or_else(missing)?.call(&mut self.store, ())?;
        self.is_intact = true;
        Ok(())
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
