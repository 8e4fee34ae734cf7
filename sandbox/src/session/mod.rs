//! Calls that go on where the one before has ended, in whatever process that was.
//!
//! What a call leaves is the pages that differ from the guest's image, as what differs in them (mostly zeros), and the files
//! in its `/tmp`, compressed: see [`state`]. The next call starts from the image with both put back: a fresh instance all the same,
//! with limits, descriptors, randomness and clocks of its own.

mod state;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use belljar_core::files::CallFile;
use belljar_core::outcome::{Failure, FailureKind};
use belljar_core::session::MAX_STATE_BYTES;
use bytes::Bytes;

use self::state::{Head, State, Unreadable, Writer};
use crate::answer::Answer;
use crate::error::Error;
use crate::grants::GrantedAccess;
use crate::instance::{Sandbox, cpu_us, micros, run};
use crate::interpreter::{HEADROOM, Ready, Starting};
use crate::limits::Limits;
use crate::memory::Memories;
use crate::pagemap::PAGE;
use crate::warm::Function;

/// Stands in front of the arguments of a session's call; `_SESSION` in the runner.
const MARK: &[u8] = b"\0";
/// Descriptors whose numbers are not used again in the next call, since files that were left open still have them.
const RESERVED: usize = 128;

/// How a call of a session ended, and what it left for the next: nothing where its interpreter has come to an end.
pub type SessionAnswer = (Answer, Option<Bytes>);

impl Sandbox {
    /// Like [`call_granting`](Self::call_granting), from the state that the call before has left; the first call has none.
    ///
    /// # Errors
    /// No interpreter can be started.
    pub fn call_in_session(
        &mut self,
        function: Function<'_>,
        args: &[u8],
        (limits, grants): (&Limits, &GrantedAccess),
        state: &[u8],
    ) -> Result<SessionAnswer, Error> {
        let (start, before) = (Instant::now(), cpu_us());
        let Some(guest) = self.image.description.id.clone() else {
            return Ok(refused(
                "the guest of this worker was built by an earlier version, without sessions"
                    .to_owned(),
            ));
        };
        let state = match read(state, &guest, grants) {
            Ok(state) => state,
            Err(why) => return Ok(refused(why)),
        };
        let state = state.as_ref();
        let (memories, next) = match self.place_of(state, guest, limits) {
            Ok(place) => place,
            Err(why) => return Ok(refused(why)),
        };
        memories.keep_for_sessions();
        self.spent = None;
        let mut starting = self.starting(&memories, self.output)?;
        starting.ready.limit(limits, memories.floor(), self.image.config.flavour);
        let files = &mut starting.ready.store.data_mut().wasi.files;
        files.grant(grants);
        files.reserved = next.descriptors;
        let mut ready = match go_on(starting, state, self.paths) {
            Ok(ready) => ready,
            Err(why) => return Ok(refused(why)),
        };
        let instance_us = micros(start);
        let args = [MARK, args].concat();
        let mut answer = run(&mut ready, Some(function.code), &args, grants);
        let left = ready.is_intact.then(|| leave(&mut ready, &memories, next));
        answer.phases.instance_us = instance_us;
        answer.phases.cpu_us = cpu_us().saturating_sub(before);
        self.spent = Some(ready);
        match left.transpose() {
            Ok(left) => Ok((answer, left)),
            Err(failure) => {
                answer.result = Err(failure);
                Ok((answer, None))
            }
        }
    }
}

impl Sandbox {
    /// The memories that a call begins in, and the head of what it leaves, as far as that is known; or why it cannot begin.
    fn place_of(
        &self,
        state: Option<&State<'_>>,
        guest: String,
        limits: &Limits,
    ) -> Result<(Arc<Memories>, Head), String> {
        let head = state.map(|state| &state.head);
        // The last image has all packages that there are: what a later step imports is not known yet.
        let image = head.map_or(self.image.memories.len() - 1, |head| head.image);
        let memories = self.image.memories.get(image).map(Arc::clone);
        let memories = memories.ok_or("its state is of an image that the guest does not have")?;
        let memory = head.map_or(0, |head| head.memory);
        if memory > limits.memory_bytes.max(memories.floor() + HEADROOM) {
            let (has, may) = (memory >> 20, limits.memory_bytes >> 20);
            return Err(format!("it has {has} MiB of memory, and this call may have {may}"));
        }
        let descriptors = head.map_or(0, |head| head.descriptors);
        let paths = head.map_or(0, |head| head.paths).max(self.paths);
        Ok((memories, Head { guest, image, memory, descriptors, paths, files: Vec::new() }))
    }
}

/// Makes an instance what the last call has left, where there was one; or why that cannot be.
fn go_on(mut starting: Starting, state: Option<&State<'_>>, paths: u32) -> Result<Ready, String> {
    let damaged = |error: wasmtime::Error| format!("its state does not run ({error})");
    let Some(state) = state else { return starting.prepare(paths).map_err(damaged) };
    starting.grow(state.head.memory).map_err(damaged)?;
    state.apply(starting.ready.memory.data_mut(&mut starting.ready.store)).map_err(unreadable)?;
    put_files(&mut starting.ready, &state.head.files)?;
    // Its `sys.path` is in its memory: only what is new here is put in front of it.
    starting.prepare(if state.head.paths < paths { paths } else { 0 }).map_err(damaged)
}

/// A call that cannot begin.
fn refused(why: String) -> SessionAnswer {
    let text = format!("the session cannot go on here: {why}\nhint: begin a new session");
    (Answer::failed(Failure::by_platform(FailureKind::Limit, text)), None)
}

fn too_large() -> Failure {
    let text = format!(
        "the session comes to more bytes, compressed, than it may; the limit is {} MiB, and it stays as it was before this call\n\
         hint: delete what is no longer needed, or keep it outside",
        MAX_STATE_BYTES >> 20
    );
    Failure::by_platform(FailureKind::Limit, text)
}

/// A state in `bytes`, of which there are none before the first call; or why a call cannot go on from it.
fn read<'a>(
    bytes: &'a [u8],
    guest: &str,
    grants: &GrantedAccess,
) -> Result<Option<State<'a>>, String> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let room = usize::try_from(grants.scratch_bytes).unwrap_or(usize::MAX);
    let state = State::read(bytes, room).map_err(unreadable)?;
    if state.head.guest != guest {
        let (left, here) = (short(&state.head.guest), short(guest));
        return Err(format!("it was left by the guest {left}, and this worker has {here}"));
    }
    Ok(Some(state))
}

fn unreadable(why: Unreadable) -> String {
    match why {
        Unreadable::Damaged => "its state was left by another version, or is damaged",
        Unreadable::Files => {
            "its files in `/tmp` have no room: give the call as large a `scratch_mb` as before"
        }
    }
    .to_owned()
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn put_files(ready: &mut Ready, files: &[CallFile]) -> Result<(), String> {
    if files.is_empty() {
        return Ok(());
    }
    let Some(scratch) = &mut ready.store.data_mut().wasi.files.scratch else {
        return Err("it has files in `/tmp`, and this worker gives calls none".to_owned());
    };
    files.iter().try_for_each(|file| {
        scratch.put(&file.name, &file.bytes).map_err(|_| {
            format!(
                "its file `/tmp/{}` has no room: ask for as large a `scratch_mb` as before",
                file.name
            )
        })
    })
}

/// What the next call goes on from, with the rest of its head; or why there is nothing.
fn leave(ready: &mut Ready, memories: &Memories, mut head: Head) -> Result<Bytes, Failure> {
    let lost = |why: &dyn std::fmt::Display| {
        let text = format!("what the call leaves to its session cannot be kept: {why}");
        Failure::by_platform(FailureKind::Limit, text)
    };
    ready.settle().map_err(|error| lost(&error))?;
    let host = ready.store.data();
    head.descriptors = host.wasi.files.in_use().min(RESERVED);
    if let Some(scratch) = &host.wasi.files.scratch {
        let Ok(()) = scratch.each(|name, content| {
            let bytes = Bytes::copy_from_slice(content);
            head.files.push(CallFile { name: name.to_owned(), bytes });
            Ok::<_, Infallible>(())
        });
    }
    let memory = ready.memory.data(&ready.store);
    head.memory = memory.len();
    let written = memories.written(memory).map_err(|error| lost(&error))?;
    let mut writer = Writer::new(&head).ok_or_else(too_large)?;
    for at in written {
        let page = writer.page(at, &memory[at..at + PAGE], memories.page(at));
        page.filter(|()| writer.bytes() <= MAX_STATE_BYTES).ok_or_else(too_large)?;
    }
    let state = writer.finish().filter(|state| state.len() <= MAX_STATE_BYTES);
    state.map(Bytes::from).ok_or_else(too_large)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineConfig;
    use crate::image::Image;
    use crate::source;
    use crate::wasi::Output;
    use belljar_core::task::PythonVersion;
    use belljar_core::warm::WarmMode;

    /// Runs a source text in a session that has this state; what it leaves.
    fn step(sandbox: &mut Sandbox, text: &str, state: &[u8]) -> Bytes {
        let args = source::arguments(&serde_json::to_string(&[text]).expect("a text"));
        let code = b"\x80\x04cbelljar_session\nrun\n.";
        let function = Function { code, name: None, warm: WarmMode::Auto };
        let grants = GrantedAccess::none().scratch(1 << 20);
        let called = sandbox.call_in_session(function, &args, (&Limits::default(), &grants), state);
        let (answer, left) = called.expect("a sandbox");
        answer.result.unwrap_or_else(|raised| panic!("{}", raised.traceback));
        left.expect("a state")
    }

    /// Whether what was planted is in a memory.
    fn is_in(ready: Option<&Ready>) -> bool {
        let ready = ready.expect("an interpreter");
        memchr::memmem::find(ready.memory.data(&ready.store), b"planted-000").is_some()
    }

    #[test]
    fn nothing_of_a_session_is_in_any_byte_of_the_memory_of_another_call() {
        let directory = crate::image::default_dir(PythonVersion::default()).expect("a home");
        let image = Image::load(directory, &EngineConfig::default()).expect("a guest");
        let output = Output::Capture(100);
        let mut sandbox = Sandbox::new(&image, &GrantedAccess::none(), output).expect("starts");
        // One with little, one that grows the memory and has a file, one that keeps nothing by a name.
        for (plant, is_kept) in [
            ("kept = [b'planted-%03d' % n for n in range(50)]", true),
            ("kept = b'planted-%03d' % 0 * 3_000_000; open('/tmp/f', 'wb').write(kept[:99])", true),
            ("len([b'planted-%03d' % (n % 9) for n in range(90_000)])", false),
        ] {
            let before = step(&mut sandbox, "x = 1", b"");
            let planted = step(&mut sandbox, plant, &before);
            assert!(is_in(sandbox.spent.as_ref()), "{plant}");
            for state in [&b""[..], &before] {
                let left = step(&mut sandbox, "y = 1", state);
                assert!(!is_in(sandbox.spent.as_ref()), "{plant}");
                step(&mut sandbox, "y", &left);
                assert!(!is_in(sandbox.spent.as_ref()), "{plant}: from what it has left");
            }
            sandbox.prepare().expect("starts");
            assert!(
                !is_in(sandbox.standby.iter().flatten().next()),
                "{plant}: a call of no session"
            );
            if is_kept {
                step(&mut sandbox, "len(kept)", &planted);
                assert!(is_in(sandbox.spent.as_ref()), "{plant}: its own next call has it");
            }
        }
    }
}
