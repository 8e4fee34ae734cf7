//! How many workers `up` runs, between two bounds.

use std::time::Duration;

use belljar_store::{Store, StoreError};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::args::WorkerRange;

/// How often the load is looked at. As long must calls wait before there is another worker.
const LOOK: Duration = Duration::from_secs(1);

/// What there is to do, and who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Load {
    /// Calls that wait.
    waiting: u64,
    /// Slots with a call.
    busy: u64,
    /// All slots.
    slots: u64,
}

/// A change of the number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// One more.
    Start,
    /// One less: it makes no further calls, and leaves once those that it has have ended.
    Stop,
}

/// Decides when there are too few workers, and when too many.
pub(super) struct Scaling {
    range: WorkerRange,
    idle: Duration,
    ticks: Interval,
    short_since: Option<Instant>,
    spare_since: Option<Instant>,
}

impl Scaling {
    /// Within `range`; there is one less once one has not been needed for `idle`.
    pub(super) fn new(range: WorkerRange, idle: Duration) -> Self {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { range, idle, ticks, short_since: None, spare_since: None }
    }

    /// Waits until the number of workers, which is `workers`, has to change. Cancel safe.
    pub(super) async fn step(&mut self, store: &Store, workers: usize) -> Step {
        if self.range.is_fixed() || workers == 0 {
            return std::future::pending().await;
        }
        loop {
            self.ticks.tick().await;
            // A store that does not answer says nothing about the load.
            let Ok(load) = load(store).await else { continue };
            if let Some(step) = self.decide(Instant::now(), workers, load) {
                return step;
            }
        }
    }

    fn decide(&mut self, now: Instant, workers: usize, load: Load) -> Option<Step> {
        let each = load.slots / workers as u64;
        let is_short = load.waiting > 0 && load.busy >= load.slots && workers < self.range.max;
        // The others would have a slot to spare.
        let is_spare = load.waiting == 0
            && workers > self.range.min
            && load.busy < load.slots.saturating_sub(each);
        let since = |since: &mut Option<Instant>, is_so: bool| {
            *since = is_so.then(|| since.unwrap_or(now));
            since.map_or(Duration::ZERO, |since| now - since)
        };
        let short_for = since(&mut self.short_since, is_short);
        let spare_for = since(&mut self.spare_since, is_spare);
        let step = if is_short && short_for >= LOOK {
            Step::Start
        } else if is_spare && spare_for >= self.idle {
            Step::Stop
        } else {
            return None;
        };
        (self.short_since, self.spare_since) = (None, None);
        Some(step)
    }
}

async fn load(store: &Store) -> Result<Load, StoreError> {
    let queues = store.queue_lengths().await?;
    let workers = store.workers().await?;
    Ok(Load {
        waiting: queues.iter().map(|queue| queue.queued).sum(),
        busy: workers.iter().map(|worker| u64::from(worker.busy)).sum(),
        slots: workers.iter().map(|worker| u64::from(worker.slots)).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    /// What is decided second by second.
    async fn decided(range: &str, mut workers: usize, loads: &[(u64, u64)]) -> Vec<usize> {
        let mut scaling = Scaling::new(range.parse().expect("a range"), IDLE);
        let mut seen = Vec::new();
        for &(waiting, busy) in loads {
            tokio::time::advance(LOOK).await;
            let load = Load { waiting, busy, slots: 2 * workers as u64 };
            match scaling.decide(Instant::now(), workers, load) {
                Some(Step::Start) => workers += 1,
                Some(Step::Stop) => workers -= 1,
                None => {}
            }
            seen.push(workers);
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_wait_get_another_worker_up_to_the_most() {
        let loads = [(9, 2), (9, 2), (9, 4), (9, 4), (9, 6), (9, 6), (9, 6)];
        assert_eq!(decided("1..3", 1, &loads).await, [1, 2, 2, 3, 3, 3, 3]);
        let just_come = [(1, 2), (0, 2), (1, 2), (1, 1), (1, 2)];
        assert_eq!(decided("1..3", 1, &just_come).await, [1; 5], "they do not wait long");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_not_needed_leaves_down_to_the_fewest() {
        let mut loads = vec![(0, 1); 31];
        assert_eq!(decided("1..3", 3, &loads).await[30], 2);
        loads = vec![(0, 0); 100];
        assert_eq!(decided("1..3", 3, &loads).await.last(), Some(&1));
        assert_eq!(decided("2..3", 3, &loads).await.last(), Some(&2));
        loads = (0..100).map(|second| (0, if second % 20 == 0 { 5 } else { 0 })).collect();
        assert_eq!(decided("1..3", 3, &loads).await.last(), Some(&3), "it is needed at times");
        assert_eq!(decided("1..3", 2, &[(0, 2); 100]).await.last(), Some(&2), "none to spare");
    }
}
