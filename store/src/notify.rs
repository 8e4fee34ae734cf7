//! Hearing of changes: one subscription on a connection of its own that mends itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::task::TaskStatus;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use redis::{Msg, RedisError};
use std::pin::pin;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

use crate::Store;
use crate::connection::{FIRST_PAUSE, LAST_PAUSE};
use crate::error::StoreError;
use crate::keys::{Keys, TOPIC_CANCEL, TOPIC_ENDED, TOPIC_STATUS, TOPIC_WORK};
use crate::message::read;
use crate::record::{ClaimedTask, TaskResult};

/// How often a silent subscription is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(2);

/// How many notices wait for a slow reader before they are dropped for one [`StoreEvent::Connected`].
const WAITING_NOTICES: usize = 1024;

/// What can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// [`StoreEvent::Ended`], for gateways.
    Ended,
    /// [`StoreEvent::StatusChanged`], for gateways that somebody watches tasks at.
    StatusChanges,
    /// [`StoreEvent::Work`] and [`StoreEvent::Delayed`], for dispatchers.
    Work,
    /// [`StoreEvent::Cancel`], for dispatchers.
    Cancel,
    /// [`StoreEvent::Delivered`], for this dispatcher.
    Deliveries(DispatcherId),
}

impl Topic {
    fn channel(self, keys: &Keys) -> String {
        match self {
            Self::Ended => keys.channel(TOPIC_ENDED),
            Self::StatusChanges => keys.channel(TOPIC_STATUS),
            Self::Work => keys.channel(TOPIC_WORK),
            Self::Cancel => keys.channel(TOPIC_CANCEL),
            Self::Deliveries(dispatcher) => keys.deliveries(dispatcher),
        }
    }
}

/// What a subscriber hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEvent {
    /// These tasks became terminal.
    Ended(Vec<EndedTask>),
    /// These tasks, which have not ended, went through these statuses.
    StatusChanged(Vec<TaskId>, &'static [TaskStatus]),
    /// There is work of these classes for dispatchers that claimed less than they wanted.
    Work,
    /// A delayed task was accepted that is due earlier than all others: beat now to hear when.
    Delayed,
    /// Tasks that this dispatcher had room for: it holds them now, as if it had claimed them.
    Delivered {
        /// The tasks.
        tasks: Vec<ClaimedTask>,
        /// Whether it waits for nothing any more: it is given more once it has claimed.
        is_last: bool,
    },
    /// A running task shall be stopped.
    Cancel(TaskId),
    /// The connection was lost and is back (also sent once at the start), or notices came faster than
    /// they were read: some went unheard, so look at the store.
    Connected,
}

/// The end of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedTask {
    /// Which task.
    pub id: TaskId,
    /// How it ended.
    pub status: TaskStatus,
    /// What [`Store::results`] says of it; `None` for a failure, and where the
    /// result is too long for a notice.
    pub result: Option<TaskResult>,
}

/// A stream of [`StoreEvent`]s; ends only when it is dropped.
pub struct Subscription {
    receiver: mpsc::Receiver<StoreEvent>,
    _stop: DropGuard,
}

impl Subscription {
    /// The next notice. Cancel safe.
    pub async fn next(&mut self) -> StoreEvent {
        match self.receiver.recv().await {
            Some(notice) => notice,
            // The other end only leaves when the runtime does.
            None => std::future::pending().await,
        }
    }
}

impl Store {
    /// Starts one subscription on a connection of its own that mends itself; see [`StoreEvent`]. Returns
    /// once it is up.
    ///
    /// # Errors
    /// Redis cannot be had.
    pub async fn subscribe(&self, topics: &[Topic]) -> Result<Subscription, StoreError> {
        self.ping().await?;
        let (sender, receiver) = mpsc::channel(WAITING_NOTICES);
        let stop = CancellationToken::new();
        let channels = topics.iter().map(|topic| topic.channel(&self.inner.keys)).collect();
        let listener = Listener {
            store: self.clone(),
            channels,
            outbox: Outbox { sender, waiting: VecDeque::new() },
        };
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(listener.run()).await });
        Ok(Subscription { receiver, _stop: stop.drop_guard() })
    }
}

struct Listener {
    store: Store,
    channels: Vec<String>,
    outbox: Outbox,
}

impl Listener {
    /// Listens, again and again, until it is dropped.
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let error = self.listen().await;
            if began.elapsed() > LAST_PAUSE {
                info!(%error, "the subscription broke off and is renewed");
                pause = FIRST_PAUSE;
            } else {
                debug!(%error, "the subscription cannot be renewed yet");
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Subscribes and passes messages on until the connection fails or falls silent.
    async fn listen(&mut self) -> RedisError {
        match self.try_listen().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn try_listen(&mut self) -> Result<std::convert::Infallible, RedisError> {
        let inner = Arc::clone(&self.store.inner);
        let connecting = inner.connection.client().get_async_pubsub();
        let (mut sink, mut messages) =
            timeout(inner.config.timeout, connecting).await.map_err(|_| silent())??.split();
        timeout(inner.config.timeout, sink.subscribe(&self.channels))
            .await
            .map_err(|_| silent())??;
        self.outbox.collapse();
        loop {
            // A ping runs beside the messages, whose reading must never wait: they would pile up.
            let patience = inner.config.timeout;
            let mut ping_sink = sink.clone();
            let mut ping = pin!(async move {
                sleep(PING_EVERY).await;
                timeout(patience, ping_sink.ping::<redis::Value>()).await.map_err(|_| silent())?
            });
            loop {
                self.outbox.flush();
                let event = {
                    let message = pin!(messages.next());
                    let room = pin!(self.outbox.room());
                    match select(select(ping.as_mut(), message), room).await {
                        Either::Left((Either::Left((pong, _)), _)) => ListenEvent::Pong(pong),
                        Either::Left((Either::Right((message, _)), _)) => {
                            ListenEvent::Message(message)
                        }
                        Either::Right(_) => ListenEvent::Room,
                    }
                };
                match event {
                    ListenEvent::Pong(pong) => {
                        pong?;
                        break;
                    }
                    ListenEvent::Message(Some(message)) => {
                        if let Some(notice) = read(&message, &inner.keys) {
                            self.outbox.push(notice);
                        }
                    }
                    ListenEvent::Message(None) => return Err(silent()),
                    ListenEvent::Room => {}
                }
            }
        }
    }
}

enum ListenEvent {
    Pong(Result<redis::Value, RedisError>),
    Message(Option<Msg>),
    Room,
}

/// Subscription on their way to the reader: bounded, and reading never waits for it.
struct Outbox {
    sender: mpsc::Sender<StoreEvent>,
    waiting: VecDeque<StoreEvent>,
}

impl Outbox {
    fn push(&mut self, notice: StoreEvent) {
        if self.waiting.len() >= WAITING_NOTICES {
            warn!(
                "notices come faster than they are read: the reader is told to look at the store"
            );
            self.collapse();
        } else {
            self.waiting.push_back(notice);
        }
    }

    /// Replaces all that waits by the word to look at the store.
    fn collapse(&mut self) {
        self.waiting.clear();
        self.waiting.push_back(StoreEvent::Connected);
    }

    fn flush(&mut self) {
        while let Some(notice) = self.waiting.pop_front() {
            if let Err(error) = self.sender.try_send(notice) {
                self.waiting.push_front(error.into_inner());
                return;
            }
        }
    }

    /// Waits until something that waits can be sent.
    async fn room(&self) {
        if self.waiting.is_empty() || self.sender.reserve().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn silent() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}
