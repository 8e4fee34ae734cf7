//! What a pool has: which slots are free, what runs, and what waits. Plain data and decisions, no
//! waiting: the pool locks it for a moment at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use belljar_core::invocation::Invocation;
use belljar_core::task::{CodeHash, TaskAttempt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::duration_estimator::{AHEAD, AHEAD_CALLS, DurationEstimator};
use crate::live::Watch;

/// How long an invocation waits for a slot before it is given back.
pub(crate) const MAX_WAIT: Duration = Duration::from_millis(100);

/// An invocation that a slot is to run, and the token that stops it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) invocation: Invocation,
    pub(crate) cancel: CancellationToken,
}

/// What is done with a new invocation.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "taken apart where it is made, never stored")]
pub(crate) enum Placed {
    /// This slot is free: it gets the job.
    Slot(usize, Job),
    /// It waits; `first` where nothing waited before.
    Waits { first: bool },
}

/// What a cancel found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// It waited, and is removed.
    Waiting,
    /// It runs and was told to stop.
    Running,
    /// It is not here.
    Unknown,
}

#[derive(Debug)]
struct Running {
    task: TaskAttempt,
    cancel: CancellationToken,
    function: CodeHash,
    since: Instant,
}

#[derive(Debug)]
struct Waiting {
    invocation: Invocation,
    since: Instant,
}

/// The state of a pool's slots.
#[derive(Debug)]
pub(crate) struct Backlog {
    running: Vec<Option<Running>>,
    /// Free slots, the last used last: it is the one whose caches are warm.
    free: Vec<usize>,
    waiting: VecDeque<Waiting>,
    durations: DurationEstimator,
    /// Whether anybody watches the call of each slot.
    watches: Vec<Arc<Watch>>,
}

impl Backlog {
    /// All of `slots` free.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            running: (0..slots).map(|_| None).collect(),
            free: (0..slots).rev().collect(),
            waiting: VecDeque::new(),
            durations: DurationEstimator::default(),
            watches: (0..slots).map(|_| Arc::default()).collect(),
        }
    }

    /// Whether anybody watches the call of a slot.
    pub(crate) fn watch_of(&self, slot: usize) -> Arc<Watch> {
        Arc::clone(&self.watches[slot])
    }

    /// Somebody watches an attempt. Nothing happens where it does not run.
    pub(crate) fn watch(&self, task: TaskAttempt, from_start: bool) {
        let of_task =
            |running: &Option<Running>| running.as_ref().is_some_and(|it| it.task == task);
        if let Some(slot) = self.running.iter().position(of_task) {
            self.watches[slot].ask(from_start);
        }
    }

    /// How many invocations are worth having at once: one for each slot, and what bridges the time
    /// until the next could come.
    pub(crate) fn window(&self, now: Instant) -> usize {
        let ending = self.expected_ends().filter(|end| is_near(*end, now)).count();
        self.running.len() * (1 + self.durations.ahead()) + ending
    }

    /// When the window will change by time alone.
    pub(crate) fn next_change(&self, now: Instant) -> Option<Instant> {
        let changes =
            self.expected_ends().flat_map(|end| [end.checked_sub(AHEAD), Some(end + AHEAD)]);
        changes.flatten().filter(|change| *change > now).min()
    }

    /// When those that run are expected to end, where that can be expected.
    fn expected_ends(&self) -> impl Iterator<Item = Instant> {
        self.running.iter().flatten().filter_map(|running| self.expected_end(running))
    }

    fn expected_end(&self, running: &Running) -> Option<Instant> {
        Some(running.since + self.durations.expected(running.function)?)
    }

    /// How many there are.
    pub(crate) fn in_flight(&self) -> usize {
        self.running.len() - self.free.len() + self.waiting.len()
    }

    /// How many calls run at once.
    pub(crate) fn slots(&self) -> usize {
        self.running.len()
    }

    /// How many run.
    pub(crate) fn running(&self) -> usize {
        self.running.len() - self.free.len()
    }

    /// Whether no more may come, also where the window was larger when it was read.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.running.len() * AHEAD_CALLS
    }

    /// Takes an invocation.
    pub(crate) fn place(&mut self, invocation: Invocation, now: Instant) -> Placed {
        match self.free.pop() {
            Some(slot) => Placed::Slot(slot, self.start(slot, invocation, now)),
            None => {
                let first = self.waiting.is_empty();
                self.waiting.push_back(Waiting { invocation, since: now });
                Placed::Waits { first }
            }
        }
    }

    fn start(&mut self, slot: usize, invocation: Invocation, now: Instant) -> Job {
        let cancel = CancellationToken::new();
        let (task, function) = (invocation.task, invocation.spec.code);
        self.watches[slot].reset();
        self.running[slot] = Some(Running { task, cancel: cancel.clone(), function, since: now });
        Job { invocation, cancel }
    }

    /// A slot's call has ended after `took`: what it runs next, if anything waits.
    pub(crate) fn next(
        &mut self,
        slot: usize,
        took: Option<Duration>,
        now: Instant,
    ) -> Option<Job> {
        if let Some(ended) = self.running[slot].take() {
            let was_asked_for = self.expected_end(&ended).is_some_and(|end| is_near(end, now));
            self.durations.call_ended(!self.waiting.is_empty(), was_asked_for);
            if let Some(took) = took {
                self.durations.record(ended.function, took);
            }
        }
        match self.waiting.pop_front() {
            Some(waiting) => Some(self.start(slot, waiting.invocation, now)),
            None => {
                self.free.push(slot);
                None
            }
        }
    }

    /// Those that have waited too long.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<Invocation> {
        let late =
            self.waiting.iter().take_while(|waiting| waiting.since + MAX_WAIT <= now).count();
        if late > 0 {
            // The running calls have taken this long at least: the window must know before they end,
            // or the same invocations would be handed in again at once.
            self.durations.at_least(MAX_WAIT);
            for running in self.running.iter().flatten() {
                self.durations.forget(running.function);
            }
        }
        self.waiting.drain(..late).map(|waiting| waiting.invocation).collect()
    }

    /// When the next will have waited too long.
    pub(crate) fn next_overdue(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.since + MAX_WAIT)
    }

    /// All that wait.
    pub(crate) fn take_waiting(&mut self) -> Vec<Invocation> {
        self.waiting.drain(..).map(|waiting| waiting.invocation).collect()
    }

    /// Stops an attempt.
    pub(crate) fn cancel(&mut self, task: TaskAttempt) -> Cancelled {
        let mut running = self.running.iter().flatten();
        if let Some(it) = running.find(|it| it.task == task) {
            it.cancel.cancel();
            return Cancelled::Running;
        }
        match self.waiting.iter().position(|it| it.invocation.task == task) {
            Some(position) => {
                self.waiting.remove(position);
                Cancelled::Waiting
            }
            None => Cancelled::Unknown,
        }
    }

    /// Stops all that run.
    pub(crate) fn cancel_running(&self) {
        self.running.iter().flatten().for_each(|running| running.cancel.cancel());
    }
}

/// Whether the next invocation is worth having now for a slot whose call is expected to end then.
fn is_near(end: Instant, now: Instant) -> bool {
    end <= now + AHEAD && now < end + AHEAD
}

#[cfg(test)]
mod tests {
    use belljar_core::task::Attempt;
    use bytes::Bytes;

    use super::*;

    fn invocation() -> Invocation {
        let class = "native:3.11".parse().expect("a class");
        Invocation::standalone(class, Bytes::new(), Bytes::new())
    }

    /// One that has run `calls` calls of that length.
    fn after_calls(slots: usize, calls: usize, took: Duration) -> Backlog {
        let mut backlog = Backlog::new(slots);
        let now = Instant::now();
        for _ in 0..calls {
            let Placed::Slot(slot, _) = backlog.place(invocation(), now) else { panic!("a slot") };
            backlog.next(slot, Some(took), now);
        }
        backlog
    }

    #[test]
    fn the_window_grows_with_short_calls_only() {
        let now = Instant::now();
        assert_eq!(Backlog::new(2).window(now), 2);
        assert_eq!(after_calls(2, 1, Duration::from_micros(50)).window(now), 2 * (1 + AHEAD_CALLS));
        assert_eq!(after_calls(2, 1, Duration::from_secs(1)).window(now), 2);
    }

    #[test]
    fn the_next_call_is_asked_for_shortly_before_the_end_of_one_with_a_known_duration() {
        let mut backlog = after_calls(2, 5, Duration::from_millis(100));
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(matches!(backlog.place(invocation(), at(0)), Placed::Slot(..)));
        assert!(matches!(backlog.place(invocation(), at(50)), Placed::Slot(..)));
        let windows =
            [0, 94, 95, 104, 105, 144, 145, 154, 155].map(|time| backlog.window(at(time)));
        assert_eq!(windows, [2, 2, 3, 3, 2, 2, 3, 3, 2]);
        let mut changes = vec![];
        while let Some(change) = backlog.next_change(changes.last().copied().unwrap_or(start)) {
            changes.push(change);
        }
        assert_eq!(changes, [95, 105, 145, 155].map(at));
    }

    #[test]
    fn what_waits_too_long_is_given_back_and_shrinks_the_window() {
        let mut backlog = after_calls(1, 1, Duration::from_micros(100));
        let now = Instant::now();
        assert!(matches!(backlog.place(invocation(), now), Placed::Slot(0, _)));
        assert!(matches!(backlog.place(invocation(), now), Placed::Waits { first: true }));
        assert!(matches!(
            backlog.place(invocation(), now + MAX_WAIT),
            Placed::Waits { first: false }
        ));
        assert_eq!(backlog.overdue(now + MAX_WAIT).len(), 1);
        assert_eq!((backlog.window(now), backlog.in_flight()), (1, 2));
        assert!(backlog.next(0, None, now).is_some());
        assert!(backlog.next(0, None, now).is_none());
        assert_eq!(backlog.in_flight(), 0);
    }

    #[test]
    fn what_waits_is_cancelled_at_once() {
        let mut backlog = Backlog::new(1);
        let (first, second) = (invocation(), invocation());
        let [first_task, second_task] = [&first, &second].map(|it| it.task);
        let Placed::Slot(0, job) = backlog.place(first, Instant::now()) else { panic!("a slot") };
        backlog.place(second, Instant::now());
        assert_eq!(backlog.cancel(second_task), Cancelled::Waiting);
        assert_eq!(backlog.cancel(second_task), Cancelled::Unknown);
        let another = TaskAttempt { attempt: Attempt(2), ..first_task };
        assert_eq!(backlog.cancel(another), Cancelled::Unknown);
        assert!(!job.cancel.is_cancelled());
        assert_eq!(backlog.cancel(first_task), Cancelled::Running);
        assert!(job.cancel.is_cancelled());
    }
}
