//! What ended lately, for pages that watch a service. While somebody asks, every end is counted and a sample of them is
//! remembered, so that watching costs little however many tasks end. While nobody does, one flag is read for each event of the
//! store.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use belljar_core::id::TaskId;
use belljar_core::task::TaskStatus;
use belljar_core::tenant::Tenant;
use belljar_store::record::{TaskFilter, TaskSummary, Timestamp};
use belljar_store::{EndedTask, StoreError, TenantStore};

/// How many ended tasks are read between two questions, at most.
const SAMPLE: usize = 128;
/// How many ended tasks are remembered for each tenant, in some 600 KiB.
const REMEMBERED: usize = 2_000;
/// How many of the newest tasks are read when somebody begins to watch.
const READ_AT_FIRST: usize = 1_000;
/// How long ends are counted after the last question.
const LINGER: Duration = Duration::from_secs(15);
/// How many tenants are watched at once; the one that was asked for least lately makes room.
const MAX_WATCHED: usize = 64;

/// The ends of tasks that somebody watches.
#[derive(Default)]
pub(crate) struct Activity {
    is_watched: AtomicBool,
    tenants: Mutex<HashMap<Tenant, Watched>>,
}

/// The ends of one tenant's tasks.
struct Watched {
    asked_at: Instant,
    begun_at: Timestamp,
    counts: EndCounts,
    /// Ends that are not read yet: a sample of the `ended_since` ends since the last question.
    sample: Vec<TaskId>,
    ended_since: u64,
    remembered: VecDeque<TaskSummary>,
    /// The number of the next task to be remembered.
    next: u64,
}

/// How many tasks ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct EndCounts {
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
}

/// What ended since a question.
pub(crate) struct Recent {
    /// Since when ends are counted.
    pub(crate) begun_at: Timestamp,
    /// All ends since then.
    pub(crate) counts: EndCounts,
    /// The number to ask for next.
    pub(crate) next: u64,
    /// Ended tasks, the last one to end at the end: all, or a sample where many end.
    pub(crate) tasks: Vec<TaskSummary>,
}

impl Activity {
    /// Notes what the store publishes.
    pub(crate) fn note(&self, ends: &[EndedTask]) {
        if !self.is_watched.load(Ordering::Relaxed) {
            return;
        }
        let mut tenants = self.lock();
        tenants.retain(|_, watched| watched.asked_at.elapsed() < LINGER);
        self.is_watched.store(!tenants.is_empty(), Ordering::Relaxed);
        for end in ends {
            if let Some(watched) = tenants.get_mut(&end.tenant) {
                watched.note(end);
            }
        }
    }

    /// What ended since the answer that began at `begun_at` and said `next`; all that is remembered where that was another
    /// gateway's, or is too long ago.
    pub(crate) async fn since(
        &self,
        tenant: &Tenant,
        store: TenantStore<'_>,
        (begun_at, next): (Timestamp, u64),
    ) -> Result<Recent, StoreError> {
        let known = self.lock().get_mut(tenant).map(Watched::take_sample);
        let ids = match known {
            Some(ids) => ids,
            None => {
                // Before ends are counted: a sample may miss some, and must have none twice.
                let page = store.tasks(TaskFilter::default(), None, READ_AT_FIRST).await?;
                let ended = page.items.into_iter().flatten().filter(|task| task.end.is_some());
                self.begin(tenant, ended.collect());
                Vec::new()
            }
        };
        let mut read = store.summaries(&ids).await?;
        read.retain(|task| task.end.is_some());
        let mut tenants = self.lock();
        // It may have been forgotten meanwhile, where many others are asked for.
        let watched = tenants.entry(tenant.clone()).or_insert_with(Watched::new);
        watched.remember(read);
        let from = if begun_at == watched.begun_at { next.min(watched.next) } else { 0 };
        let new = usize::try_from(watched.next - from).unwrap_or(usize::MAX);
        let old = watched.remembered.len().saturating_sub(new);
        Ok(Recent {
            begun_at: watched.begun_at,
            counts: watched.counts,
            next: watched.next,
            tasks: watched.remembered.range(old..).cloned().collect(),
        })
    }

    fn begin(&self, tenant: &Tenant, ended: Vec<TaskSummary>) {
        let mut tenants = self.lock();
        if tenants.len() >= MAX_WATCHED {
            let oldest = tenants.iter().min_by_key(|(_, watched)| watched.asked_at);
            if let Some(oldest) = oldest.map(|(tenant, _)| tenant.clone()) {
                tenants.remove(&oldest);
            }
        }
        // Two may have asked at once.
        tenants.entry(tenant.clone()).or_insert_with(|| {
            let mut watched = Watched::new();
            watched.remember(ended);
            watched
        });
        self.is_watched.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Tenant, Watched>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn new() -> Self {
        Self {
            asked_at: Instant::now(),
            begun_at: Timestamp::before_now(Duration::ZERO),
            counts: EndCounts::default(),
            sample: Vec::new(),
            ended_since: 0,
            remembered: VecDeque::new(),
            next: 0,
        }
    }

    fn note(&mut self, end: &EndedTask) {
        match end.status {
            TaskStatus::Completed => self.counts.completed += 1,
            TaskStatus::Failed => self.counts.failed += 1,
            TaskStatus::Cancelled => self.counts.cancelled += 1,
            TaskStatus::Queued | TaskStatus::Running => return,
        }
        // Each end since the last question is as likely to be in the sample as any other.
        self.ended_since += 1;
        if self.sample.len() < SAMPLE {
            self.sample.push(end.id);
        } else if let Ok(place) = usize::try_from(fastrand::u64(..self.ended_since))
            && let Some(id) = self.sample.get_mut(place)
        {
            *id = end.id;
        }
    }

    fn take_sample(&mut self) -> Vec<TaskId> {
        self.asked_at = Instant::now();
        self.ended_since = 0;
        std::mem::take(&mut self.sample)
    }

    fn remember(&mut self, mut ended: Vec<TaskSummary>) {
        ended.sort_by_key(|task| task.end.map(|end| end.finished_at));
        self.next += ended.len() as u64;
        self.remembered.extend(ended);
        let too_many = self.remembered.len().saturating_sub(REMEMBERED);
        self.remembered.drain(..too_many);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(status: TaskStatus) -> EndedTask {
        EndedTask { id: TaskId::random(), tenant: Tenant::default(), status, result: None }
    }

    #[test]
    fn all_ends_are_counted_and_a_fair_sample_of_them_is_kept() {
        let activity = Activity::default();
        activity.note(&[end(TaskStatus::Completed)]);
        assert!(activity.lock().is_empty(), "nobody watches");
        activity.begin(&Tenant::default(), Vec::new());
        let ends: Vec<_> = (0..40 * SAMPLE).map(|_| end(TaskStatus::Completed)).collect();
        activity.note(&ends);
        activity.note(&[end(TaskStatus::Failed)]);
        let mut tenants = activity.lock();
        let watched = tenants.get_mut(&Tenant::default()).expect("watched");
        let counts = EndCounts { completed: ends.len() as u64, failed: 1, cancelled: 0 };
        assert_eq!(watched.counts, counts);
        let sample = watched.take_sample();
        assert_eq!(sample.len(), SAMPLE);
        let (early, late) = ends.split_at(ends.len() / 2);
        for half in [early, late] {
            let n = half.iter().filter(|end| sample.contains(&end.id)).count();
            assert!((SAMPLE / 4..SAMPLE * 3 / 4).contains(&n), "{n} of one half");
        }
        assert!(watched.take_sample().is_empty());
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let activity = Activity::default();
        activity.begin(&Tenant::default(), Vec::new());
        let long_ago = Instant::now().checked_sub(LINGER).expect("the machine is up for so long");
        activity.lock().get_mut(&Tenant::default()).expect("watched").asked_at = long_ago;
        activity.note(&[end(TaskStatus::Completed)]);
        assert!(activity.lock().is_empty() && !activity.is_watched.load(Ordering::Relaxed));
    }

    #[test]
    fn the_watched_tenants_are_bounded() {
        let activity = Activity::default();
        for n in 0..MAX_WATCHED + 10 {
            activity.begin(&format!("t{n}").parse().expect("a tenant"), Vec::new());
        }
        let tenants = activity.lock();
        assert_eq!(tenants.len(), MAX_WATCHED);
        assert!(!tenants.contains_key(&"t0".parse().expect("a tenant")), "the oldest made room");
    }
}
