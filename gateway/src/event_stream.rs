//! Every move of every task, for the clients of `/v1/events`. It has a subscription of its own, so that a
//! gateway without such clients receives ends only.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_core::task::TaskStatus;
use belljar_core::tenant::Tenant;
use belljar_store::{Store, StoreEvent, Subscription, Topic};
use bytes::Bytes;
use tokio::sync::{Mutex, broadcast};
use tokio::time::timeout;

use crate::error::ApiError;

/// How many events a stream may fall behind before it is cut.
const EVENT_BUFFER: usize = 1_024;
/// How many moves one event has at most: together they bound the memory.
const MOST_MOVES: usize = 256;
/// How long a subscription may take to come up.
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon the subscription ends after the last client, where no notice comes.
const LINGER: Duration = Duration::from_secs(10);

/// An event for the clients.
#[derive(Debug, Clone)]
pub(crate) enum Moves {
    /// Tasks of a tenant went to other statuses.
    Moved(Tenant, Arc<Moved>),
    /// The subscription was interrupted: moves may have been missed.
    Gap,
}

/// Tasks and the statuses that they went to, in this order.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) tasks: Vec<(TaskId, TaskStatus)>,
    /// All of them as clients read them: written once, however many do.
    text: OnceLock<Bytes>,
}

impl Moved {
    /// All of them as clients read them.
    pub(crate) fn text(&self) -> Bytes {
        let write = || {
            let mut text = String::with_capacity(self.tasks.len() * EVENT_BYTES);
            self.tasks.iter().for_each(|&(id, status)| write_move(&mut text, id, status));
            text.into()
        };
        self.text.get_or_init(write).clone()
    }
}

/// About how long an event is.
const EVENT_BYTES: usize = 160;

/// Writes one move as clients read it.
pub(crate) fn write_move(text: &mut String, id: TaskId, status: TaskStatus) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "event: task\nid: {id}\ndata: {{\"task_id\":\"{id}\",\"status\":\"{status}\"}}\n\n"
    );
}

/// Between the subscription and the clients.
pub(crate) struct EventStream {
    events: broadcast::Sender<Moves>,
    /// Whether there is a subscription.
    is_on: Mutex<bool>,
}

impl EventStream {
    /// A stream without clients.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { events: broadcast::Sender::new(EVENT_BUFFER), is_on: Mutex::new(false) })
    }

    /// How many clients there are.
    pub(crate) fn streams(&self) -> usize {
        self.events.receiver_count()
    }

    /// All events from now on.
    pub(crate) async fn watch(
        self: &Arc<Self>,
        store: &Store,
    ) -> Result<broadcast::Receiver<Moves>, ApiError> {
        let mut is_on = self.is_on.lock().await;
        let receiver = self.events.subscribe();
        if !*is_on {
            let mut notices = store.subscribe(&[Topic::StatusChanges, Topic::Ended]).await?;
            // The first says that the subscription is up.
            timeout(PATIENCE, notices.next()).await.map_err(|_| silent())?;
            *is_on = true;
            tokio::spawn(Arc::clone(self).forward(notices));
        }
        Ok(receiver)
    }

    /// Forwards notices while there are clients.
    async fn forward(self: Arc<Self>, mut notices: Subscription) {
        loop {
            if let Ok(notice) = timeout(LINGER, notices.next()).await {
                self.send(notice);
            }
            if self.streams() == 0 {
                let mut is_on = self.is_on.lock().await;
                // Under the lock, as a client may have come meanwhile.
                if self.streams() == 0 {
                    *is_on = false;
                    return;
                }
            }
        }
    }

    fn send(&self, notice: StoreEvent) {
        let mut groups: Vec<(Tenant, Vec<_>)> = Vec::new();
        match notice {
            StoreEvent::StatusChanged(ids, through, tenant) => {
                let to = |&status| ids.iter().map(move |&id| (id, status));
                groups.push((tenant, through.iter().flat_map(to).collect()));
            }
            StoreEvent::Ended(ends) => {
                for end in ends {
                    match groups.last_mut() {
                        Some((tenant, moves)) if *tenant == end.tenant => {
                            moves.push((end.id, end.status));
                        }
                        _ => groups.push((end.tenant, vec![(end.id, end.status)])),
                    }
                }
            }
            // An error only means that there is no client, here and below.
            StoreEvent::Connected => return drop(self.events.send(Moves::Gap)),
            StoreEvent::Work
            | StoreEvent::Delivered { .. }
            | StoreEvent::Delayed
            | StoreEvent::FunctionRemoved(_)
            | StoreEvent::WatchRequested { .. }
            | StoreEvent::DrainRequested(_)
            | StoreEvent::Live(_)
            | StoreEvent::Cancel(_) => return,
        }
        for (tenant, moves) in groups {
            for moves in moves.chunks(MOST_MOVES) {
                let moved = Moved { tasks: moves.to_vec(), text: OnceLock::new() };
                let _ = self.events.send(Moves::Moved(tenant.clone(), Arc::new(moved)));
            }
        }
    }
}

fn silent() -> ApiError {
    ApiError::NotReady("the store sends no events".to_owned())
}
