//! Calls that go on where the one before has ended, in whatever process that was.
//!
//! What a call leaves is the pages that differ from the guest's image, as what differs in them (mostly zeros), and the files
//! in its `/tmp`, compressed. The next call starts from the image with both put back: a fresh instance all the same,
//! with limits, descriptors, randomness and clocks of its own.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use belljar_core::files::CallFile;
use belljar_core::outcome::{Failure, FailureKind};
use belljar_core::session::MAX_STATE_BYTES;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::error::Error;
use crate::grants::GrantedAccess;
use crate::instance::{Sandbox, cpu_us, micros, run};
use crate::interpreter::{HEADROOM, Ready};
use crate::limits::Limits;
use crate::memory::Memories;
use crate::warm::Function;

/// What a state begins with.
const MAGIC: &[u8] = b"belljar session 1\n";
/// Stands in front of the arguments of a session's call; `_SESSION` in the runner.
const MARK: &[u8] = b"\0";
/// Descriptors whose numbers are not used again in the next call, since files that were left open still have them.
const RESERVED: usize = 128;

/// What a call has left.
#[derive(Serialize, Deserialize)]
struct State {
    /// The build of the guest.
    guest: String,
    /// Which of its images the memory differs from.
    image: usize,
    /// Bytes of memory.
    memory: usize,
    /// How many descriptors were in use.
    descriptors: usize,
    /// The files in `/tmp`.
    files: Vec<CallFile>,
    /// Where the memory differs.
    ranges: Vec<Range<usize>>,
    /// What of it, exclusive or with the image.
    #[serde(with = "serde_bytes")]
    differences: Vec<u8>,
}

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
        let state = match read(state, &guest) {
            Ok(state) => state,
            Err(why) => return Ok(refused(why)),
        };
        // The last image has all packages that there are: what a later step imports is not known yet.
        let image = state.as_ref().map_or(self.image.memories.len() - 1, |state| state.image);
        let Some(memories) = self.image.memories.get(image).map(Arc::clone) else {
            return Ok(refused("its state is of an image that the guest does not have".to_owned()));
        };
        if let Some(state) = &state
            && state.memory > limits.memory_bytes.max(memories.floor() + HEADROOM)
        {
            let (has, may) = (state.memory >> 20, limits.memory_bytes >> 20);
            return Ok(refused(format!(
                "it has {has} MiB of memory, and this call may have {may}"
            )));
        }
        memories.keep_for_sessions();
        self.spent = None;
        let mut ready = self.resumed(&memories, state.as_ref())?;
        ready.limit(limits, memories.floor(), self.image.config.flavour);
        let files = &mut ready.store.data_mut().wasi.files;
        files.grant(grants);
        files.reserved = state.as_ref().map_or(0, |state| state.descriptors);
        let kept = state.as_ref().map_or(&[][..], |state| &state.files);
        if let Err(why) = put_files(&mut ready, kept) {
            return Ok(refused(why));
        }
        let instance_us = micros(start);
        let args = [MARK, args].concat();
        let mut answer = run(&mut ready, Some(function.code), &args, grants);
        let left = ready.is_intact.then(|| leave(&mut ready, &memories, (guest, image))).flatten();
        answer.phases.instance_us = instance_us;
        answer.phases.cpu_us = cpu_us().saturating_sub(before);
        self.spent = Some(ready);
        if left.as_ref().is_some_and(|left| left.len() > MAX_STATE_BYTES) {
            answer.result = Err(too_large(left.map_or(0, |left| left.len())));
            return Ok((answer, None));
        }
        Ok((answer, left))
    }

    /// An interpreter that goes on from a state, or begins a session.
    fn resumed(&self, memories: &Arc<Memories>, state: Option<&State>) -> Result<Ready, Error> {
        let Some(state) = state else { return self.fresh(memories, self.output, self.paths) };
        self.fresh_from(memories, state.memory, |memory| apply(memory, state))
    }
}

/// A call that cannot begin.
fn refused(why: String) -> SessionAnswer {
    let text = format!("the session cannot go on here: {why}\nhint: begin a new session");
    (Answer::failed(Failure::by_platform(FailureKind::Limit, text)), None)
}

fn too_large(bytes: usize) -> Failure {
    let text = format!(
        "the session comes to {bytes} bytes, compressed, and the limit is {} MiB: it stays as it was before this call\n\
         hint: delete what is no longer needed, or keep it outside",
        MAX_STATE_BYTES >> 20
    );
    Failure::by_platform(FailureKind::Limit, text)
}

/// A state in `bytes`, of which there are none before the first call; or why a call cannot go on from it.
fn read(bytes: &[u8], guest: &str) -> Result<Option<State>, String> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let unreadable = || "its state was left by another version, or is damaged".to_owned();
    let packed = bytes.strip_prefix(MAGIC).ok_or_else(unreadable)?;
    let (size, _) = lz4_flex::block::uncompressed_size(packed).map_err(|_| unreadable())?;
    // A worker's own; but what a hostile guest has come to is not allocated on its word.
    if size > packed.len().saturating_mul(256) {
        return Err(unreadable());
    }
    let plain = lz4_flex::block::decompress_size_prepended(packed).map_err(|_| unreadable())?;
    let state: State = rmp_serde::from_slice(&plain).map_err(|_| unreadable())?;
    if state.guest != guest {
        let (left, here) = (short(&state.guest), short(guest));
        return Err(format!("it was left by the guest {left}, and this worker has {here}"));
    }
    let bytes: usize = state.ranges.iter().map(Range::len).sum();
    let fits =
        state.ranges.iter().all(|range| range.start <= range.end && range.end <= state.memory);
    if fits && bytes == state.differences.len() { Ok(Some(state)) } else { Err(unreadable()) }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Puts what differs into a memory that is the image, and zeros beyond.
fn apply(memory: &mut [u8], state: &State) {
    let mut at = 0;
    for range in &state.ranges {
        let differences = &state.differences[at..at + range.len()];
        let Some(bytes) = memory.get_mut(range.clone()) else { return };
        bytes.iter_mut().zip(differences).for_each(|(byte, difference)| *byte ^= difference);
        at += range.len();
    }
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

/// What the next call goes on from; `None` where the interpreter is unusable.
fn leave(ready: &mut Ready, memories: &Memories, (guest, image): (String, usize)) -> Option<Bytes> {
    ready.settle().ok()?;
    let host = ready.store.data();
    let descriptors = host.wasi.files.in_use().min(RESERVED);
    let mut files = Vec::new();
    if let Some(scratch) = &host.wasi.files.scratch {
        let keep = |name: &str, content: &[u8]| {
            files.push(CallFile { name: name.to_owned(), bytes: Bytes::copy_from_slice(content) });
            Ok::<_, std::convert::Infallible>(())
        };
        let Ok(()) = scratch.each(keep);
    }
    let memory = ready.memory.data(&ready.store);
    let ranges = memories.differing(memory).ok()?;
    let mut differences = Vec::with_capacity(ranges.iter().map(Range::len).sum());
    ranges.iter().for_each(|range| memories.difference(memory, range.clone(), &mut differences));
    let memory = memory.len();
    let state = State { guest, image, memory, descriptors, files, ranges, differences };
    let plain = rmp_serde::to_vec(&state).ok()?;
    let mut left = MAGIC.to_vec();
    left.extend_from_slice(&lz4_flex::block::compress_prepend_size(&plain));
    Some(left.into())
}
