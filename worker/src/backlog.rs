//! What a pool has: which slots are free, what runs, and what waits. Plain data and decisions, no
//! waiting: the pool locks it for a moment at a time.

use std::collections::VecDeque;
use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_core::invocation::Invocation;
use belljar_core::task::Attempt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Work that is worth holding ahead for each slot: it bridges the way to the dispatcher and back.
const AHEAD: Duration = Duration::from_millis(5);
/// At most so many invocations wait for each slot.
const AHEAD_CALLS: usize = 32;
/// How long an invocation waits for a slot before it is given back.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// An invocation that a slot is to run, and the token that stops it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) invocation: Invocation,
    pub(crate) cancel: CancellationToken,
}

/// What is done with a new invocation.
#[derive(Debug)]
pub(crate) enum Placed {
    /// This slot is free: it gets the job.
    Slot(usize, Job),
    /// It waits; `first` where nothing waited before.
    Waits { first: bool },
}

/// What became of a wish to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// It waited and is gone.
    Waiting,
    /// It runs and was told to stop.
    Running,
    /// It is not here.
    Unknown,
}

#[derive(Debug)]
struct Running {
    task_id: TaskId,
    attempt: Attempt,
    cancel: CancellationToken,
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
    /// How long a call takes on average, in seconds; none has been seen at first.
    average: Option<f64>,
}

impl Backlog {
    /// All of `slots` free.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            running: (0..slots).map(|_| None).collect(),
            free: (0..slots).rev().collect(),
            waiting: VecDeque::new(),
            average: None,
        }
    }

    /// How many invocations are worth having at once.
    pub(crate) fn window(&self) -> usize {
        let ahead = match self.average {
            Some(average) if average > 0.0 => (AHEAD.as_secs_f64() / average) as usize,
            Some(_) => AHEAD_CALLS,
            None => 0,
        };
        self.running.len() * (1 + ahead.min(AHEAD_CALLS))
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

    /// Whether no more may come, whatever the window said when it was asked.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.running.len() * AHEAD_CALLS
    }

    /// Takes an invocation.
    pub(crate) fn place(&mut self, invocation: Invocation, now: Instant) -> Placed {
        match self.free.pop() {
            Some(slot) => Placed::Slot(slot, self.start(slot, invocation)),
            None => {
                let first = self.waiting.is_empty();
                self.waiting.push_back(Waiting { invocation, since: now });
                Placed::Waits { first }
            }
        }
    }

    fn start(&mut self, slot: usize, invocation: Invocation) -> Job {
        let cancel = CancellationToken::new();
        let (task_id, attempt) = (invocation.task_id, invocation.attempt);
        self.running[slot] = Some(Running { task_id, attempt, cancel: cancel.clone() });
        Job { invocation, cancel }
    }

    /// A slot's call has ended after `took`: what it runs next, if anything waits.
    pub(crate) fn next(&mut self, slot: usize, took: Option<Duration>) -> Option<Job> {
        if let Some(took) = took {
            let took = took.as_secs_f64();
            let average = self.average.get_or_insert(took);
            *average += (took - *average) / 8.0;
        }
        match self.waiting.pop_front() {
            Some(waiting) => Some(self.start(slot, waiting.invocation)),
            None => {
                self.running[slot] = None;
                self.free.push(slot);
                None
            }
        }
    }

    /// Those that have waited too long.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<Invocation> {
        let late =
            self.waiting.iter().take_while(|waiting| waiting.since + PATIENCE <= now).count();
        if late > 0 {
            // The running calls have taken this long at least: the window must know before they end,
            // or the same invocations would be handed in again at once.
            let average = self.average.get_or_insert(0.0);
            *average = average.max(PATIENCE.as_secs_f64());
        }
        self.waiting.drain(..late).map(|waiting| waiting.invocation).collect()
    }

    /// When the next will have waited too long.
    pub(crate) fn next_overdue(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.since + PATIENCE)
    }

    /// All that wait.
    pub(crate) fn take_waiting(&mut self) -> Vec<Invocation> {
        self.waiting.drain(..).map(|waiting| waiting.invocation).collect()
    }

    /// Stops an attempt.
    pub(crate) fn cancel(&mut self, task_id: TaskId, attempt: Attempt) -> Cancelled {
        let mut running = self.running.iter().flatten();
        if let Some(it) = running.find(|it| (it.task_id, it.attempt) == (task_id, attempt)) {
            it.cancel.cancel();
            return Cancelled::Running;
        }
        let is_it =
            |it: &Waiting| (it.invocation.task_id, it.invocation.attempt) == (task_id, attempt);
        match self.waiting.iter().position(is_it) {
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

#[cfg(test)]
mod tests {
    use belljar_core::invocation::Function;
    use belljar_core::task::{CodeHash, Limits};
    use bytes::Bytes;

    use super::*;

    fn invocation() -> Invocation {
        Invocation {
            task_id: TaskId::random(),
            attempt: Attempt(1),
            class: "native:3.11".parse().expect("a class"),
            limits: Limits::DEFAULT,
            function: Function { hash: CodeHash::of(b""), code: Bytes::new() },
            args: Bytes::new(),
            grants: None,
        }
    }

    #[test]
    fn the_window_grows_with_short_calls_only() {
        let mut backlog = Backlog::new(2);
        assert_eq!(backlog.window(), 2);
        backlog.next(0, Some(Duration::from_micros(50)));
        assert_eq!(backlog.window(), 2 * (1 + AHEAD_CALLS));
        for _ in 0..50 {
            backlog.next(0, Some(Duration::from_secs(1)));
        }
        assert_eq!(backlog.window(), 2);
    }

    #[test]
    fn what_waits_too_long_is_given_back_and_shrinks_the_window() {
        let mut backlog = Backlog::new(1);
        let now = Instant::now();
        backlog.average = Some(0.000_1);
        assert!(matches!(backlog.place(invocation(), now), Placed::Slot(0, _)));
        assert!(matches!(backlog.place(invocation(), now), Placed::Waits { first: true }));
        assert!(matches!(
            backlog.place(invocation(), now + PATIENCE),
            Placed::Waits { first: false }
        ));
        assert_eq!(backlog.overdue(now + PATIENCE).len(), 1);
        assert_eq!((backlog.window(), backlog.in_flight()), (1, 2));
        assert!(backlog.next(0, None).is_some());
        assert!(backlog.next(0, None).is_none());
        assert_eq!(backlog.in_flight(), 0);
    }

    #[test]
    fn what_waits_is_cancelled_at_once() {
        let mut backlog = Backlog::new(1);
        let (first, second) = (invocation(), invocation());
        let ids = [&first, &second].map(|it| it.task_id);
        let Placed::Slot(0, job) = backlog.place(first, Instant::now()) else { panic!("a slot") };
        backlog.place(second, Instant::now());
        assert_eq!(backlog.cancel(ids[1], Attempt(1)), Cancelled::Waiting);
        assert_eq!(backlog.cancel(ids[1], Attempt(1)), Cancelled::Unknown);
        assert_eq!(backlog.cancel(ids[0], Attempt(2)), Cancelled::Unknown);
        assert!(!job.cancel.is_cancelled());
        assert_eq!(backlog.cancel(ids[0], Attempt(1)), Cancelled::Running);
        assert!(job.cancel.is_cancelled());
    }
}
