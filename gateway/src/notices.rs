//! The gateway's one subscription: hears which tasks have ended, reads those that somebody here
//! waits for, several at a time, and tells the waiters and the event streams.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_core::task::TaskStatus;
use belljar_store::{Notice, Notices, Store, Topic};
use tokio::sync::{Notify, broadcast};

use crate::waiters::Waiters;

/// How many results one read of the store takes; results may be large.
const CHUNK: usize = 64;
/// How many events a stream may fall behind before it is cut.
const EVENT_BUFFER: usize = 4_096;
/// How long to wait after a subscription that could not be started.
const RETRY: Duration = Duration::from_millis(250);

/// What an event stream is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A task became terminal.
    Ended(TaskId, TaskStatus),
    /// The subscription was interrupted: ends may have been missed.
    Gap,
}

/// Between the subscription and those who listen.
pub(crate) struct Hub {
    /// Who waits for what.
    pub(crate) waiters: Waiters,
    events: broadcast::Sender<Event>,
    /// Ended tasks that are yet to be read; bounded by the waiters and [`EVENT_BUFFER`].
    pending: Mutex<HashSet<TaskId>>,
    arrival: Notify,
}

impl Hub {
    /// A hub with room for `max_waiters` registrations.
    pub(crate) fn new(max_waiters: usize) -> Self {
        Self {
            waiters: Waiters::new(max_waiters),
            events: broadcast::Sender::new(EVENT_BUFFER),
            pending: Mutex::default(),
            arrival: Notify::new(),
        }
    }

    /// Listens to all events from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// How many event streams are open.
    pub(crate) fn streams(&self) -> usize {
        self.events.receiver_count()
    }

    fn take_in(&self, notice: Notice) {
        match notice {
            Notice::Ended(ids) => self.keep(&ids),
            Notice::Connected => {
                self.waiters.reread_all();
                // An error only means that no stream is open.
                let _ = self.events.send(Event::Gap);
            }
            Notice::Work | Notice::Delayed | Notice::Cancel(_) => {}
        }
    }

    fn keep(&self, ids: &[TaskId]) {
        let is_watched = self.streams() > 0;
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for &id in ids {
            let is_for_stream = is_watched && pending.len() < EVENT_BUFFER;
            if is_for_stream || self.waiters.is_awaited(id) {
                pending.insert(id);
            }
        }
        let has_work = !pending.is_empty();
        drop(pending);
        if has_work {
            self.arrival.notify_one();
        }
    }

    fn take_pending(&self) -> Vec<TaskId> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }

    async fn deliver(&self, store: &Store, ids: &[TaskId]) {
        match store.results(ids).await {
            Ok(results) => {
                for (&id, result) in ids.iter().zip(results) {
                    let Some(result) = result.filter(|result| result.status.is_terminal()) else {
                        self.waiters.reread(id);
                        continue;
                    };
                    self.waiters.ended(id, &result);
                    let _ = self.events.send(Event::Ended(id, result.status));
                }
            }
            // The waiters' own reads tell their clients about the store.
            Err(_) => ids.iter().for_each(|&id| self.waiters.reread(id)),
        }
    }
}

/// Listens to the store for ever.
pub(crate) async fn listen(hub: Arc<Hub>, store: Store) {
    let mut notices = subscribe(&store).await;
    loop {
        hub.take_in(notices.next().await);
    }
}

async fn subscribe(store: &Store) -> Notices {
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
    use super::*;

    #[test]
    fn only_awaited_tasks_are_read() {
        let hub = Hub::new(10);
        let (awaited, other) = (TaskId::random(), TaskId::random());
        let _guard = hub.waiters.register(vec![awaited]).expect("room");
        hub.take_in(Notice::Ended(vec![awaited, other]));
        assert_eq!(hub.take_pending(), [awaited]);
        let _events = hub.events();
        hub.take_in(Notice::Ended(vec![other]));
        assert_eq!(hub.take_pending(), [other]);
    }
}
