//! The gateway's subscription: hears which tasks have ended and tells the waiters. A long result is not in
//! the notice: it is read, several at a time, if somebody here waits.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_store::record::TaskResult;
use belljar_store::{EndedTask, StoreEvent, Subscription, Store, Topic};
use tokio::sync::Notify;

use crate::app::App;
use crate::waiters::Waiters;

/// How many results one read of the store takes; results may be large.
const CHUNK: usize = 64;
/// Beyond so much of large results who waits reads the next one itself.
const MAX_DELIVERED_BYTES: usize = 16 << 20;
/// How long to wait after a subscription that could not be started.
const RETRY: Duration = Duration::from_millis(250);

/// Between the subscription and those who listen.
pub(crate) struct Hub {
    /// Who waits for what.
    pub(crate) waiters: Waiters,
    /// Ended tasks whose results are yet to be read; bounded by the waiters.
    pending: Mutex<HashSet<TaskId>>,
    arrival: Notify,
}

impl Hub {
    /// A hub with room for `max_waiters` registrations.
    pub(crate) fn new(max_waiters: usize) -> Self {
        Self {
            waiters: Waiters::new(max_waiters),
            pending: Mutex::default(),
            arrival: Notify::new(),
        }
    }

    fn take_in(&self, notice: StoreEvent) {
        match notice {
            StoreEvent::Ended(ends) => self.tell(&ends),
            StoreEvent::Connected => self.waiters.reread_all(),
            StoreEvent::StatusChanged(..)
            | StoreEvent::Work
            | StoreEvent::Delivered { .. }
            | StoreEvent::Delayed
            | StoreEvent::Cancel(_) => {}
        }
    }

    fn tell(&self, ends: &[EndedTask]) {
        let mut unread = Vec::new();
        for end in ends {
            match &end.result {
                Some(result) => self.waiters.ended(end.id, result),
                None if self.waiters.is_awaited(end.id) => unread.push(end.id),
                None => {}
            }
        }
        if !unread.is_empty() {
            self.pending.lock().unwrap_or_else(PoisonError::into_inner).extend(unread);
            self.arrival.notify_one();
        }
    }

    fn take_pending(&self) -> Vec<TaskId> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }

    async fn deliver(&self, store: &Store, ids: &[TaskId]) {
        match store.results_within(ids, MAX_DELIVERED_BYTES).await {
            Ok(results) => {
                for (&id, result) in ids.iter().zip(results) {
                    let is_whole =
                        |result: &TaskResult| result.status.is_terminal() && !result.is_unread;
                    let Some(result) = result.filter(is_whole) else {
                        self.waiters.reread(id);
                        continue;
                    };
                    self.waiters.ended(id, &result);
                }
            }
            // The waiters' own reads tell their clients about the store.
            Err(_) => ids.iter().for_each(|&id| self.waiters.reread(id)),
        }
    }
}

/// Listens to the store for ever.
pub(crate) async fn listen(app: Arc<App>) {
    let mut notices = subscribe(&app.store).await;
    loop {
        let notice = notices.next().await;
        app.stir();
        app.hub.take_in(notice);
    }
}

async fn subscribe(store: &Store) -> Subscription {
    let mut is_first = true;
    loop {
        match store.subscribe(&[Topic::Ended]).await {
            Ok(notices) => return notices,
            Err(error) if is_first => {
                is_first = false;
                tracing::warn!(%error, "cannot subscribe to the store yet, trying on");
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Reads what the listener kept, for ever.
pub(crate) async fn deliver(hub: Arc<Hub>, store: Store) {
    loop {
        let ids = hub.take_pending();
        if ids.is_empty() {
            hub.arrival.notified().await;
        }
        for chunk in ids.chunks(CHUNK) {
            hub.deliver(&store, chunk).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use belljar_core::task::TaskStatus;

    use super::*;
    use crate::waiters::Heard;

    fn end(id: TaskId, result: Option<TaskResult>) -> StoreEvent {
        StoreEvent::Ended(vec![EndedTask { id, status: TaskStatus::Completed, result }])
    }

    #[tokio::test]
    async fn what_a_notice_tells_is_not_read_again() {
        let hub = Hub::new(10);
        let id = TaskId::random();
        let status = TaskStatus::Completed;
        let result = TaskResult { result: "v".into(), ..TaskResult::of(status) };
        let guard = hub.waiters.register(vec![id]).expect("room");
        hub.take_in(end(id, Some(result.clone())));
        let Heard::Ended(ended) = guard.heard().await else { panic!("not an end") };
        assert_eq!(ended, [(id, result)]);
        assert!(hub.take_pending().is_empty());
    }

    #[test]
    fn of_long_results_only_the_awaited_are_read() {
        let hub = Hub::new(10);
        let (awaited, other) = (TaskId::random(), TaskId::random());
        let _guard = hub.waiters.register(vec![awaited]).expect("room");
        hub.take_in(end(awaited, None));
        hub.take_in(end(other, None));
        assert_eq!(hub.take_pending(), [awaited]);
    }
}
