//! The gateway's subscription: wakes the waiters of tasks that have ended. A long result is not part of the
//! event: it is read, several at a time, if a request waits for it. Large ones are read apart: a bucket that does not answer keeps no
//! other result waiting.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_store::{EndedTask, Store, StoreEvent, Subscription, Topic};
use tokio::sync::Notify;

use crate::activity::Activity;
use crate::cache::FunctionCache;
use crate::config::WHOLE_BYTES;
use crate::cpu_latency::CpuLatency;
use crate::waiters::Waiters;

/// How many results one read of the store takes; results may be large.
const CHUNK: usize = 64;
/// How long to wait after a subscription that could not be started.
const RETRY: Duration = Duration::from_millis(250);

/// Between the subscription and the waiters.
pub(crate) struct Notifier {
    /// The waiters, by task.
    pub(crate) waiters: Waiters,
    /// Ended tasks whose results are not read yet.
    pending: Pending,
    /// Those of them that are known to be large.
    large: Pending,
    /// The ends that somebody watches.
    pub(crate) activity: Activity,
}

/// Ended tasks; bounded by the waiters.
#[derive(Default)]
struct Pending {
    ids: Mutex<HashSet<TaskId>>,
    arrival: Notify,
}

impl Pending {
    fn add(&self, ids: Vec<TaskId>) {
        if !ids.is_empty() {
            self.ids.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
            self.arrival.notify_one();
        }
    }

    fn take(&self) -> Vec<TaskId> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }
}

impl Notifier {
    /// A notifier with room for `max_waiters` registrations.
    pub(crate) fn new(max_waiters: usize) -> Self {
        Self {
            waiters: Waiters::new(max_waiters),
            pending: Pending::default(),
            large: Pending::default(),
            activity: Activity::default(),
        }
    }

    fn handle_notice(&self, notice: StoreEvent) {
        match notice {
            StoreEvent::Ended(ends) => self.notify(&ends),
            StoreEvent::Connected => self.waiters.reread_all(),
            StoreEvent::StatusChanged(..)
            | StoreEvent::Work
            | StoreEvent::Delivered { .. }
            | StoreEvent::Delayed
            | StoreEvent::FunctionRemoved(_)
            | StoreEvent::WatchRequested { .. }
            | StoreEvent::DrainRequested(_)
            | StoreEvent::Live(_)
            | StoreEvent::Cancel(_) => {}
        }
    }

    fn notify(&self, ends: &[EndedTask]) {
        self.activity.note(ends);
        let mut unread = Vec::new();
        for end in ends {
            match &end.result {
                Some(result) => self.waiters.ended(end.id, result),
                None if self.waiters.is_awaited(end.id) => unread.push(end.id),
                None => {}
            }
        }
        self.pending.add(unread);
    }

    /// Reads what is pending, as it comes. Without room for them, large results become pending themselves. Never returns.
    async fn deliver(&self, store: &Store, pending: &Pending, room: u64) {
        loop {
            let ids = pending.take();
            if ids.is_empty() {
                pending.arrival.notified().await;
            }
            for chunk in ids.chunks(CHUNK) {
                self.deliver_some(store, chunk, room).await;
            }
        }
    }

    async fn deliver_some(&self, store: &Store, ids: &[TaskId], room: u64) {
        match store.results_within(ids, room).await {
            Ok(results) => {
                let mut large = Vec::new();
                for (&id, result) in ids.iter().zip(results) {
                    match result.filter(|result| result.status.is_terminal() && !result.is_away) {
                        None => self.waiters.reread(id),
                        Some(result) if room == 0 && result.unread_bytes > 0 => large.push(id),
                        Some(result) => self.waiters.ended(id, &result),
                    }
                }
                self.large.add(large);
            }
            // The waiters' own reads report the error to their clients.
            Err(_) => ids.iter().for_each(|&id| self.waiters.reread(id)),
        }
    }
}

/// Handles what the store publishes. Never returns.
pub(crate) async fn listen(
    notifier: Arc<Notifier>,
    store: Store,
    functions: Arc<FunctionCache>,
    cpu_latency: Option<Arc<CpuLatency>>,
) {
    let mut notices = subscribe(&store).await;
    loop {
        let notice = notices.next().await;
        if let Some(latency) = &cpu_latency {
            latency.touch();
        }
        match notice {
            StoreEvent::FunctionRemoved(id) => functions.remove(id),
            StoreEvent::Connected => functions.clear(),
            _ => {}
        }
        notifier.handle_notice(notice);
    }
}

async fn subscribe(store: &Store) -> Subscription {
    let mut is_first = true;
    loop {
        match store.subscribe(&[Topic::Ended, Topic::RemovedFunctions]).await {
            Ok(notices) => return notices,
            Err(error) if is_first => {
                is_first = false;
                tracing::warn!(%error, "cannot subscribe to the store yet: retrying");
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Reads the results that events did not contain. Never returns.
pub(crate) async fn deliver(notifier: Arc<Notifier>, store: Store) {
    let Notifier { pending, large, .. } = &*notifier;
    let small = notifier.deliver(&store, pending, 0);
    tokio::join!(small, notifier.deliver(&store, large, WHOLE_BYTES));
}

#[cfg(test)]
mod tests {
    use belljar_core::task::TaskStatus;
    use belljar_core::tenant::Tenant;
    use belljar_store::record::TaskResult;

    use super::*;
    use crate::waiters::Event;

    fn end(id: TaskId, result: Option<TaskResult>) -> StoreEvent {
        StoreEvent::Ended(vec![EndedTask {
            id,
            tenant: Tenant::default(),
            status: TaskStatus::Completed,
            result,
        }])
    }

    #[tokio::test]
    async fn a_result_within_an_event_is_not_read_again() {
        let notifier = Notifier::new(10);
        let id = TaskId::random();
        let status = TaskStatus::Completed;
        let result = TaskResult { result: "v".into(), ..TaskResult::of(status) };
        let guard = notifier.waiters.register(vec![id]).expect("room");
        notifier.handle_notice(end(id, Some(result.clone())));
        let Event::Ended(ended) = guard.next_event().await else { panic!("not an end") };
        assert_eq!(ended, [(id, result)]);
        assert!(notifier.pending.take().is_empty());
    }

    #[test]
    fn only_awaited_long_results_are_read() {
        let notifier = Notifier::new(10);
        let (awaited, other) = (TaskId::random(), TaskId::random());
        let _guard = notifier.waiters.register(vec![awaited]).expect("room");
        notifier.handle_notice(end(awaited, None));
        notifier.handle_notice(end(other, None));
        assert_eq!(notifier.pending.take(), [awaited]);
    }
}
