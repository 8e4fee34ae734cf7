//! Requests that wait for tasks, and that an event of the store wakes, without any polling.
//!
//! A waiter is registered *before* the task's state is read, so that an end between the two is not
//! missed. Dropping the guard, also because the client went away, takes the waiter out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use belljar_core::id::TaskId;
use belljar_store::record::TaskResult;
use tokio::sync::Notify;

use crate::error::ApiError;
use crate::policy::OpenPermit;
use crate::share::SharePermit;

/// So many locks share the waiters, by the last byte of the task's id: ids are random.
const SHARDS: usize = 16;

type Shard = HashMap<TaskId, Vec<Arc<Waiter>>>;

/// All waiters of a gateway.
pub(crate) struct Waiters {
    shards: [Mutex<Shard>; SHARDS],
    registered: AtomicUsize,
    limit: usize,
}

/// An event for a waiter.
#[derive(Debug)]
pub(crate) enum Event {
    /// These tasks have ended so.
    Ended(Vec<(TaskId, TaskResult)>),
    /// Events may be missing: read the store.
    Reread,
}

#[derive(Default)]
struct Waiter {
    inbox: Mutex<Inbox>,
    arrival: Notify,
}

#[derive(Default)]
struct Inbox {
    ended: Vec<(TaskId, TaskResult)>,
    reread: bool,
}

/// The registration of one request for some tasks; ends when dropped.
pub(crate) struct WaitGuard<'a> {
    waiters: &'a Waiters,
    ids: Vec<TaskId>,
    waiter: Arc<Waiter>,
    /// Counts the request among those that its tenant has open, and its tasks among those that it waits for.
    held: (Option<OpenPermit>, Option<SharePermit>),
}

/// A poisoned lock only means that a panic was caught elsewhere; each change here is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiters {
    /// Room for `limit` registrations.
    pub(crate) fn new(limit: usize) -> Self {
        Self { shards: Default::default(), registered: AtomicUsize::new(0), limit }
    }

    fn shard(&self, id: TaskId) -> MutexGuard<'_, Shard> {
        let [.., last] = id.as_bytes();
        lock(&self.shards[usize::from(*last) % SHARDS])
    }

    /// Registers one waiter for all of `ids`.
    pub(crate) fn register(&self, mut ids: Vec<TaskId>) -> Result<WaitGuard<'_>, ApiError> {
        if ids.len() > 1 {
            ids.sort_unstable();
            ids.dedup();
        }
        let before = self.registered.fetch_add(ids.len(), Ordering::Relaxed);
        if before + ids.len() > self.limit {
            self.registered.fetch_sub(ids.len(), Ordering::Relaxed);
            return Err(ApiError::TooManyWaiters(before));
        }
        let waiter = Arc::new(Waiter::default());
        for &id in &ids {
            self.shard(id).entry(id).or_default().push(Arc::clone(&waiter));
        }
        Ok(WaitGuard { waiters: self, ids, waiter, held: (None, None) })
    }

    /// How many registrations there are.
    pub(crate) fn len(&self) -> usize {
        self.registered.load(Ordering::Relaxed)
    }

    /// Whether a request waits for `id`.
    pub(crate) fn is_awaited(&self, id: TaskId) -> bool {
        self.shard(id).contains_key(&id)
    }

    /// Wakes the waiters of `id` with its end.
    pub(crate) fn ended(&self, id: TaskId, result: &TaskResult) {
        let waiting = self.shard(id).get(&id).cloned().unwrap_or_default();
        for waiter in waiting {
            lock(&waiter.inbox).ended.push((id, result.clone()));
            waiter.arrival.notify_one();
        }
    }

    /// Makes the waiters of `id` read the store.
    pub(crate) fn reread(&self, id: TaskId) {
        for waiter in self.shard(id).get(&id).cloned().unwrap_or_default() {
            waiter.reread();
        }
    }

    /// Makes all waiters read the store.
    pub(crate) fn reread_all(&self) {
        for shard in &self.shards {
            lock(shard).values().flatten().for_each(|waiter| waiter.reread());
        }
    }
}

impl Waiter {
    fn reread(&self) {
        lock(&self.inbox).reread = true;
        self.arrival.notify_one();
    }
}

impl WaitGuard<'_> {
    /// The same, which holds permits as long as it lives.
    pub(crate) fn holding(mut self, open: Option<OpenPermit>, tasks: Option<SharePermit>) -> Self {
        self.held = (open, tasks);
        self
    }

    /// For how many tasks it waits, each counted once.
    pub(crate) fn awaited(&self) -> usize {
        self.ids.len()
    }

    /// The next event. Cancel safe.
    pub(crate) async fn next_event(&self) -> Event {
        loop {
            {
                let mut inbox = lock(&self.waiter.inbox);
                if std::mem::take(&mut inbox.reread) {
                    inbox.ended.clear();
                    return Event::Reread;
                }
                if !inbox.ended.is_empty() {
                    return Event::Ended(std::mem::take(&mut inbox.ended));
                }
            }
            self.waiter.arrival.notified().await;
        }
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        for &id in &self.ids {
            let mut shard = self.waiters.shard(id);
            let is_last = shard.get_mut(&id).is_some_and(|waiting| {
                waiting.retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
                waiting.is_empty()
            });
            if is_last {
                shard.remove(&id);
            }
        }
        self.waiters.registered.fetch_sub(self.ids.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use belljar_core::task::TaskStatus;
    use bytes::Bytes;

    use super::*;

    fn result() -> TaskResult {
        let (status, result) = (TaskStatus::Completed, Bytes::new());
        TaskResult { result, ..TaskResult::of(status) }
    }

    #[tokio::test]
    async fn all_waiters_of_a_task_get_its_end() {
        let waiters = Waiters::new(10);
        let (id, other) = (TaskId::random(), TaskId::random());
        let one = waiters.register(vec![id]).expect("room");
        let both = waiters.register(vec![other, id, id]).expect("room");
        assert_eq!(waiters.len(), 3);
        waiters.ended(id, &result());
        for guard in [&one, &both] {
            let Event::Ended(ended) = guard.next_event().await else { panic!("not an end") };
            assert_eq!(ended, [(id, result())]);
        }
    }

    #[tokio::test]
    async fn a_reread_replaces_earlier_events() {
        let waiters = Waiters::new(10);
        let id = TaskId::random();
        let guard = waiters.register(vec![id]).expect("room");
        waiters.ended(id, &result());
        waiters.reread_all();
        assert!(matches!(guard.next_event().await, Event::Reread));
    }

    #[test]
    fn a_dropped_waiter_leaves_nothing_behind() {
        let waiters = Waiters::new(2);
        let (id, other) = (TaskId::random(), TaskId::random());
        let guard = waiters.register(vec![id, other]).expect("room");
        assert!(waiters.register(vec![id]).is_err(), "the limit is two");
        assert!(waiters.is_awaited(id) && waiters.is_awaited(other));
        drop(guard);
        assert!(!waiters.is_awaited(id) && !waiters.is_awaited(other));
        assert_eq!(waiters.len(), 0);
        assert!(waiters.register(vec![id]).is_ok());
    }
}
