//! Functions that start warm: unpickled, with their modules imported, every call still in a fresh interpreter.
//!
//! An import of a large package takes a hundred milliseconds, a fresh interpreter a tenth of one. So the memory of an
//! interpreter that has unpickled a function and imported what it names, and has seen no arguments, is kept as an image
//! of its own: the pages that differ from the guest's image. Nothing of any call is in it. What every call must have
//! of its own (randomness, files, what is printed) is not kept either: a function whose imports touch any of that starts
//! from the guest's image, always.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use belljar_core::id::FunctionId;
use belljar_core::limits::WARM_ADDRESS_BYTES;
use belljar_core::outcome::Phases;
use belljar_core::task::CodeHash;

use crate::delta::Arena;
use crate::interpreter::Ready;
use crate::limits::Limits;
use crate::memory::Memories;
use crate::wasi::Sources;

/// A call that takes the guest so long may be slow for its imports.
const SLOW: Duration = Duration::from_millis(1);
/// Unpickling and imports that take so long are worth an image.
const WORTH: Duration = Duration::from_micros(500);
/// A function's image is made within a call, which then takes twice as long: only where its timeout is so many times
/// what the last call took.
const PATIENCE: u32 = 4;
/// The files that a function was imported from are looked at again after so long.
const CHECKED: Duration = Duration::from_secs(1);
/// What a function may take of the memory for all.
const SHARE: usize = 2;
/// Functions that are remembered.
const REMEMBERED: usize = 1024;

/// What tells functions apart: those of two tenants differ, even where their code does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FunctionName {
    /// Under which it is registered.
    pub id: FunctionId,
    /// The hash of its pickle.
    pub code: CodeHash,
}

/// A function to be called.
#[derive(Debug, Clone, Copy)]
pub struct Function<'a> {
    /// Its pickle.
    pub code: &'a [u8],
    /// What to keep it under, if it may be kept.
    pub name: Option<FunctionName>,
}

/// The functions of one sandbox that may start warm.
#[derive(Default)]
pub(crate) struct WarmFunctions {
    /// Room for their memories; where there is none, no function starts warm.
    arena: Option<Arc<Arena>>,
    bytes: usize,
    known: HashMap<FunctionName, Known>,
    calls: u64,
}

impl fmt::Debug for WarmFunctions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmFunctions").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// What is known of a function.
enum Known {
    /// Its last call was slow.
    Slow(Duration),
    /// It always starts from the guest's image.
    Unfit,
    Warm(Box<Warm>),
}

/// A function's image.
struct Warm {
    memories: Arc<Memories>,
    standby: Option<Ready>,
    sources: Sources,
    checked: Instant,
    used: u64,
}

impl WarmFunctions {
    /// Lets functions take `bytes` bytes from now on.
    pub(crate) fn allow(&mut self, bytes: usize) -> io::Result<()> {
        (self.arena, self.bytes) = (Some(Arena::new(bytes)?), bytes);
        Ok(())
    }

    /// Notes a call that started from the guest's image.
    pub(crate) fn note(&mut self, name: FunctionName, phases: &Phases) {
        let took = Duration::from_micros(phases.decode_us + phases.call_us);
        if self.arena.is_none() || took < SLOW || self.known.contains_key(&name) {
            return;
        }
        if self.known.len() >= REMEMBERED {
            self.known.retain(|_, known| matches!(known, Known::Warm(_)));
        }
        self.known.insert(name, Known::Slow(took));
    }

    /// Whether the function should be tried now.
    pub(crate) fn is_due(&self, name: &FunctionName, limits: &Limits) -> bool {
        match self.known.get(name) {
            Some(Known::Slow(took)) => limits.time.is_none_or(|time| *took * PATIENCE < time),
            _ => false,
        }
    }

    /// Whether a call can start warm.
    pub(crate) fn has(&mut self, name: &FunctionName) -> bool {
        let Some(Known::Warm(warm)) = self.known.get_mut(name) else { return false };
        if warm.checked.elapsed() >= CHECKED {
            if !warm.sources.are_current() {
                self.known.remove(name);
                return false;
            }
            warm.checked = Instant::now();
        }
        self.calls += 1;
        warm.used = self.calls;
        true
    }

    /// The interpreter that stands by for a function, and the memories for another.
    pub(crate) fn take(&mut self, name: &FunctionName) -> Option<(Option<Ready>, Arc<Memories>)> {
        let Some(Known::Warm(warm)) = self.known.get_mut(name) else { return None };
        Some((warm.standby.take(), Arc::clone(&warm.memories)))
    }

    /// The memories of a function for which no interpreter stands by.
    pub(crate) fn without_standby(&self, name: &FunctionName) -> Option<Arc<Memories>> {
        match self.known.get(name) {
            Some(Known::Warm(warm)) if warm.standby.is_none() => Some(Arc::clone(&warm.memories)),
            _ => None,
        }
    }

    /// Has an interpreter stand by.
    pub(crate) fn stand_by(&mut self, name: &FunctionName, ready: Ready) {
        if let Some(Known::Warm(warm)) = self.known.get_mut(name) {
            warm.standby = Some(ready);
        }
    }

    /// Keeps `memory`, which an interpreter of the image `base` came to within `took`, for a function; without
    /// `sources` it is unfit to be kept.
    pub(crate) fn keep(
        &mut self,
        name: FunctionName,
        (base, memory): (&Memories, &[u8]),
        sources: Option<Sources>,
        took: Duration,
    ) {
        let sources = sources.filter(|_| took >= WORTH);
        let memories = sources.is_some().then(|| self.derived(base, memory)).flatten();
        let known = match (memories, sources) {
            (Some(memories), Some(sources)) => {
                let (checked, used) = (Instant::now(), self.calls);
                Known::Warm(Box::new(Warm { memories, standby: None, sources, checked, used }))
            }
            _ => Known::Unfit,
        };
        self.known.insert(name, known);
    }

    /// The memories of a function, in the place of those that were not used for longest where there is no room.
    fn derived(&mut self, base: &Memories, memory: &[u8]) -> Option<Arc<Memories>> {
        let arena = self.arena.clone()?;
        loop {
            let addresses =
                self.warm().map(|(_, warm)| warm.memories.minimum() as u64).sum::<u64>();
            if addresses + memory.len() as u64 <= WARM_ADDRESS_BYTES
                && let Some(memories) = base.derive(memory, &arena, self.bytes / SHARE).ok()?
            {
                return Some(memories);
            }
            let oldest = self.warm().min_by_key(|(_, warm)| warm.used).map(|(name, _)| *name)?;
            self.known.remove(&oldest);
        }
    }

    fn warm(&self) -> impl Iterator<Item = (&FunctionName, &Warm)> {
        self.known.iter().filter_map(|(name, known)| match known {
            Known::Warm(warm) => Some((name, &**warm)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slow_functions_are_tried_and_only_where_there_is_time() {
        let name =
            |bytes: &[u8]| FunctionName { id: FunctionId::random(), code: CodeHash::of(bytes) };
        let (fast, slow) = (name(b"fast"), name(b"slow"));
        let taking = |call_us| Phases { decode_us: 100, call_us, ..Phases::default() };
        let within = |time| Limits { time: Some(Duration::from_millis(time)), ..Limits::default() };
        let mut warm = WarmFunctions::default();
        warm.note(slow, &taking(5000));
        assert!(!warm.is_due(&slow, &within(1000)), "nothing is kept");
        warm.allow(1 << 20).expect("memory");
        warm.note(fast, &taking(800));
        warm.note(slow, &taking(5000));
        assert!(!warm.is_due(&fast, &within(1000)));
        assert!(warm.is_due(&slow, &within(1000)) && warm.is_due(&slow, &Limits::default()));
        assert!(!warm.is_due(&slow, &within(20)), "four times what it took");
    }
}
