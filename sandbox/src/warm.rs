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
use belljar_core::warm::{WarmMode, WarmStart};

use crate::delta::Arena;
use crate::interpreter::Ready;
use crate::limits::Limits;
use crate::memory::Memories;
use crate::wasi::Sources;

/// A call that takes the guest so long may be slow for its imports.
const SLOW: Duration = Duration::from_millis(1);
/// Unpickling and imports that take so long are worth an image.
const WORTH: Duration = Duration::from_micros(500);
/// And so much longer for each MiB of it: what takes much room and saves little would cost others theirs.
const WORTH_A_MIB: Duration = Duration::from_micros(250);
/// A function's image is made within a call, which then takes twice as long: only where its timeout is so many times
/// what the last call took.
const PATIENCE: u32 = 4;
/// The same where an image is asked for.
const PATIENCE_IF_ASKED: u32 = 2;
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
    /// Whether it should be.
    pub warm: WarmMode,
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
    /// It always starts from the guest's image, for this reason.
    Unfit(WarmStart),
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
    pub(crate) fn note(&mut self, name: FunctionName, mode: WarmMode, phases: &Phases) {
        let took = taken(phases);
        let is_wanted = mode == WarmMode::Always || took >= SLOW;
        if self.arena.is_none() || !is_wanted || self.known.contains_key(&name) {
            return;
        }
        if self.known.len() >= REMEMBERED {
            self.known.retain(|_, known| matches!(known, Known::Warm(_)));
        }
        self.known.insert(name, Known::Slow(took));
    }

    /// Why a call started from the guest's image that has taken so long; `None` where nobody would ask.
    pub(crate) fn why_cold(
        &self,
        function: &Function<'_>,
        is_bare: bool,
        limits: &Limits,
        phases: &Phases,
    ) -> Option<WarmStart> {
        let known = function.name.and_then(|name| self.known.get(&name));
        match (function.warm, known) {
            (WarmMode::Never, _) => Some(WarmStart::Never),
            (WarmMode::Auto, None) if taken(phases) < SLOW => None,
            _ if !is_bare => Some(WarmStart::Granted),
            _ if self.arena.is_none() => Some(WarmStart::Off),
            (_, Some(Known::Unfit(why))) => Some(*why),
            (mode, Some(Known::Slow(took))) if !is_patient(*took, mode, limits) => {
                Some(WarmStart::Timeout)
            }
            _ => Some(WarmStart::First),
        }
    }

    /// Whether the function should be tried now.
    pub(crate) fn is_due(&self, name: &FunctionName, mode: WarmMode, limits: &Limits) -> bool {
        match self.known.get(name) {
            Some(Known::Slow(took)) => is_patient(*took, mode, limits),
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

    /// Keeps `memory`, which an interpreter of the image `base` came to, for a function, unless it is unfit to be kept. What
    /// it may take at most says [`most_bytes`](Self::most_bytes).
    pub(crate) fn keep(
        &mut self,
        name: FunctionName,
        (base, memory): (&Memories, &[u8]),
        sources: Result<Sources, WarmStart>,
        most: usize,
    ) {
        let known = sources.and_then(|sources| {
            let memories = self.derived(base, memory, most)?;
            let (checked, used) = (Instant::now(), self.calls);
            Ok(Known::Warm(Box::new(Warm { memories, standby: None, sources, checked, used })))
        });
        self.known.insert(name, known.unwrap_or_else(Known::Unfit));
    }

    /// How large an image may be that saves every call so much.
    pub(crate) fn most_bytes(&self, mode: WarmMode, saved: Duration) -> usize {
        let share = self.bytes / SHARE;
        match (mode, saved.checked_sub(WORTH)) {
            (WarmMode::Always, _) => share,
            (_, Some(more)) => {
                let worth = more.as_micros() * (1 << 20) / WORTH_A_MIB.as_micros();
                share.min(usize::try_from(worth).unwrap_or(share))
            }
            (_, None) => 0,
        }
    }

    /// The memories of a function, of at most `most` bytes, in the place of those that were not used for longest where there
    /// is no room.
    fn derived(
        &mut self,
        base: &Memories,
        memory: &[u8],
        most: usize,
    ) -> Result<Arc<Memories>, WarmStart> {
        let too_large =
            if most < self.bytes / SHARE { WarmStart::Cheap } else { WarmStart::TooLarge };
        let arena = self.arena.clone().ok_or(WarmStart::Off)?;
        loop {
            let addresses =
                self.warm().map(|(_, warm)| warm.memories.minimum() as u64).sum::<u64>();
            if addresses + memory.len() as u64 <= WARM_ADDRESS_BYTES
                && let Some(memories) = base.derive(memory, &arena, most).map_err(|_| too_large)?
            {
                return Ok(memories);
            }
            let oldest = self.warm().min_by_key(|(_, warm)| warm.used).map(|(name, _)| *name);
            self.known.remove(&oldest.ok_or(WarmStart::TooLarge)?);
        }
    }

    fn warm(&self) -> impl Iterator<Item = (&FunctionName, &Warm)> {
        self.known.iter().filter_map(|(name, known)| match known {
            Known::Warm(warm) => Some((name, &**warm)),
            _ => None,
        })
    }
}

/// How long the guest took for a call.
const fn taken(phases: &Phases) -> Duration {
    Duration::from_micros(phases.decode_us + phases.call_us)
}

/// Whether a call whose last one took so long has the time for an image to be made.
fn is_patient(took: Duration, mode: WarmMode, limits: &Limits) -> bool {
    let patience = if mode == WarmMode::Always { PATIENCE_IF_ASKED } else { PATIENCE };
    limits.time.is_none_or(|time| took * patience < time)
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
        let (auto, always) = (WarmMode::Auto, WarmMode::Always);
        let mut warm = WarmFunctions::default();
        warm.note(slow, auto, &taking(5000));
        assert!(!warm.is_due(&slow, auto, &within(1000)), "nothing is kept");
        warm.allow(1 << 20).expect("memory");
        warm.note(fast, auto, &taking(800));
        warm.note(slow, auto, &taking(5000));
        assert!(!warm.is_due(&fast, auto, &within(1000)));
        assert!(warm.is_due(&slow, auto, &within(1000)));
        assert!(warm.is_due(&slow, auto, &Limits::default()));
        assert!(!warm.is_due(&slow, auto, &within(20)), "four times what it took");
        assert!(warm.is_due(&slow, always, &within(20)) && !warm.is_due(&slow, always, &within(8)));
        warm.note(fast, always, &taking(800));
        assert!(warm.is_due(&fast, always, &within(1000)));
    }

    #[test]
    fn what_takes_much_room_must_save_much() {
        let mut warm = WarmFunctions::default();
        warm.allow(64 << 20).expect("memory");
        let auto = |micros| warm.most_bytes(WarmMode::Auto, Duration::from_micros(micros));
        assert_eq!([auto(400), auto(500), auto(1000)], [0, 0, 2 << 20]);
        assert_eq!(auto(100_000), 32 << 20, "a function's share");
        assert_eq!(warm.most_bytes(WarmMode::Always, Duration::ZERO), 32 << 20);
    }
}
