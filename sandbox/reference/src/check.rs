//! Whole sequences: both sides do them, and where they differ, the shortest sequence that shows it is found.

use std::collections::BTreeMap;
use std::time::Instant;

use fastrand::Rng;

use crate::differences::{ALL, Case, Kind};
use crate::perform::{CLOSED, Descriptors, Outcome, perform};
use crate::side::{Both, Side};
use crate::step::{FREE, GIVEN, SCRATCH, SLOTS, Step, sequence};

/// Where the two sides differ and no row of the table says that they may.
#[derive(Debug)]
pub struct Mismatch {
    /// Which step.
    pub at: usize,
    /// What the sandbox answered, and what `wasmtime-wasi` did.
    pub outcomes: [Outcome; 2],
}

/// How often each intended difference was met, by its words.
pub type Met = BTreeMap<&'static str, u64>;

/// What is open, in numbers of each side and in what both agree on.
struct World {
    sides: [Box<dyn Side>; 2],
    slots: [Descriptors; 2],
    kinds: [Kind; SLOTS],
}

impl World {
    fn new(both: &Both) -> Self {
        let mut sides = both.start();
        let slots = [0, 1].map(|side: usize| {
            let mut slots = [CLOSED; SLOTS];
            slots[..3].copy_from_slice(&[0, 1, 2]);
            slots[GIVEN..=SCRATCH].copy_from_slice(&sides[side].directories());
            slots
        });
        let mut kinds = [Kind::Closed; SLOTS];
        kinds[..3].fill(Kind::Stream);
        kinds[GIVEN..FREE].fill(Kind::Directory);
        Self { sides, slots, kinds }
    }

    fn step(&mut self, step: &Step) -> [Outcome; 2] {
        let [ours, theirs] = &mut self.sides;
        let [our_slots, their_slots] = &mut self.slots;
        [perform(step, &mut **ours, our_slots), perform(step, &mut **theirs, their_slots)]
    }

    /// Keeps account of what is open.
    fn note(&mut self, step: &Step) {
        let changed = match step {
            Step::Open { slot, .. } | Step::Close(slot) => vec![*slot],
            Step::Renumber(from, to) => vec![*from, *to],
            _ => return,
        };
        for slot in changed {
            let outcome = perform(&Step::Descriptor(slot), &mut *self.sides[0], &mut self.slots[0]);
            self.kinds[slot] = match outcome.numbers.first() {
                None => Kind::Closed,
                Some(3) => Kind::Directory,
                Some(4) => Kind::File,
                Some(_) => Kind::Stream,
            };
        }
    }
}

/// Does `steps` on both sides.
///
/// # Errors
/// They differ.
pub fn compare(both: &Both, steps: &[Step], met: &mut Met) -> Result<(), Mismatch> {
    let mut world = World::new(both);
    for (at, step) in steps.iter().enumerate() {
        let outcomes = world.step(step);
        if outcomes[0] != outcomes[1] {
            let [ours, theirs] = &outcomes;
            let case = Case { step, kind: &|slot| world.kinds[slot], ours, theirs };
            let Some(row) = ALL.iter().find(|row| (row.is)(&case)) else {
                return Err(Mismatch { at, outcomes });
            };
            *met.entry(row.what).or_default() += 1;
            // What one of them changed, the other has not: from here on they see different files.
            if (ours.errno == Some(0)) != (theirs.errno == Some(0)) && step.changes_files() {
                break;
            }
        }
        world.note(step);
    }
    Ok(())
}

/// The shortest sequence found in `steps` that still shows a mismatch, and what it shows.
#[must_use]
pub fn shrink(both: &Both, mut steps: Vec<Step>, mut found: Mismatch) -> (Vec<Step>, Mismatch) {
    steps.truncate(found.at + 1);
    let mut piece = steps.len() / 2;
    while piece > 0 {
        let mut start = 0;
        while start < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(start..(start + piece).min(steps.len()));
            match compare(both, &fewer, &mut Met::new()) {
                Err(mismatch) => {
                    fewer.truncate(mismatch.at + 1);
                    (steps, found) = (fewer, mismatch);
                }
                Ok(()) => start += piece,
            }
        }
        piece /= 2;
    }
    (steps, found)
}

/// What a run of many sequences met.
#[derive(Debug, Default)]
pub struct Report {
    /// Sequences done.
    pub sequences: u64,
    /// Steps done.
    pub steps: u64,
    /// The intended differences that were met.
    pub met: Met,
    /// What differs besides: the shrunk sequences, as text, each with its seed.
    pub mismatches: Vec<String>,
}

/// Does sequences of the seeds from `seed` on until `until` says so, and at most `most` mismatches.
pub fn run(both: &Both, seed: u64, most: usize, mut until: impl FnMut(&Report) -> bool) -> Report {
    let mut report = Report::default();
    let start = Instant::now();
    for seed in seed.. {
        if report.mismatches.len() >= most || until(&report) {
            break;
        }
        let steps = sequence(&mut Rng::with_seed(seed), 60);
        if let Err(mismatch) = compare(both, &steps, &mut report.met) {
            let (steps, mismatch) = shrink(both, steps, mismatch);
            report.mismatches.push(told(seed, &steps, &mismatch));
        }
        report.sequences += 1;
        report.steps += 60;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} sequences, {} steps in {seconds:.1} s from seed {seed}",
        report.sequences, report.steps
    );
    report
}

/// A mismatch as text.
#[must_use]
pub fn told(seed: u64, steps: &[Step], mismatch: &Mismatch) -> String {
    let steps: Vec<String> = steps.iter().map(|step| format!("    {step:?}")).collect();
    let [ours, theirs] = &mismatch.outcomes;
    format!("seed {seed}:\n{}\n  ours   {ours:?}\n  theirs {theirs:?}", steps.join("\n"))
}
