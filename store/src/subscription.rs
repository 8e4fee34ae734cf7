//! Subscriptions to changes: one on a connection of its own that reconnects by itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use backon::BackoffBuilder as _;
use belljar_core::id::DispatcherId;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use redis::{Msg, RedisError};
use std::pin::pin;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

use crate::Store;
use crate::connection::{BACKOFF, LAST_PAUSE};
use crate::error::StoreError;
use crate::event::{self, StoreEvent};
use crate::keys::{
    Keys, TOPIC_CANCEL, TOPIC_DRAIN, TOPIC_ENDED, TOPIC_LIVE, TOPIC_STATUS, TOPIC_UNREGISTERED,
    TOPIC_WATCH, TOPIC_WORK,
};

/// How often a silent subscription is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(2);

/// How many events wait for a slow reader before one [`StoreEvent::Connected`] replaces them.
const MAX_PENDING: usize = 1024;

/// What can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// [`StoreEvent::Ended`], for gateways.
    Ended,
    /// [`StoreEvent::StatusChanged`], for gateways with clients that watch tasks.
    StatusChanges,
    /// [`StoreEvent::FunctionRemoved`], for gateways.
    RemovedFunctions,
    /// [`StoreEvent::Work`] and [`StoreEvent::Delayed`], for dispatchers.
    Work,
    /// [`StoreEvent::Cancel`], for dispatchers.
    Cancel,
    /// [`StoreEvent::WatchRequested`], for dispatchers.
    Watches,
    /// [`StoreEvent::DrainRequested`], for dispatchers.
    Drains,
    /// [`StoreEvent::Live`], for gateways with clients that watch tasks.
    Live,
    /// [`StoreEvent::Delivered`], for this dispatcher.
    Deliveries(DispatcherId),
}

impl Topic {
    fn channel(self, keys: &Keys) -> String {
        match self {
            Self::Ended => keys.channel(TOPIC_ENDED),
            Self::StatusChanges => keys.channel(TOPIC_STATUS),
            Self::RemovedFunctions => keys.channel(TOPIC_UNREGISTERED),
            Self::Work => keys.channel(TOPIC_WORK),
            Self::Cancel => keys.channel(TOPIC_CANCEL),
            Self::Drains => keys.channel(TOPIC_DRAIN),
            Self::Watches => keys.channel(TOPIC_WATCH),
            Self::Live => keys.channel(TOPIC_LIVE),
            Self::Deliveries(dispatcher) => keys.deliveries(dispatcher),
        }
    }
}

/// A stream of [`StoreEvent`]s; ends only when it is dropped.
pub struct Subscription {
    receiver: mpsc::Receiver<StoreEvent>,
    _stop: DropGuard,
}

impl Subscription {
    /// The next event. Cancel safe.
    pub async fn next(&mut self) -> StoreEvent {
        match self.receiver.recv().await {
            Some(event) => event,
            // The sender is only dropped with the runtime.
            None => std::future::pending().await,
        }
    }
}

impl Store {
    /// Starts one subscription on a connection of its own that mends itself; see [`StoreEvent`]. Returns
    /// once it is up.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn subscribe(&self, topics: &[Topic]) -> Result<Subscription, StoreError> {
        self.ping().await?;
        let (sender, receiver) = mpsc::channel(MAX_PENDING);
        let stop = CancellationToken::new();
        let channels = topics.iter().map(|topic| topic.channel(&self.inner.keys)).collect();
        let listener = Listener {
            store: self.clone(),
            channels,
            outbox: Outbox { sender, pending: VecDeque::new() },
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
        let mut pauses = BACKOFF.build();
        loop {
            let began = Instant::now();
            let error = self.listen().await;
            if began.elapsed() > LAST_PAUSE {
                info!(%error, "the subscription broke off and is renewed");
                pauses = BACKOFF.build();
            } else {
                debug!(%error, "the subscription cannot be renewed yet");
            }
            sleep(pauses.next().unwrap_or(LAST_PAUSE)).await;
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
        let connecting = async { inner.connection.client().await?.get_async_pubsub().await };
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
                        if let Some(event) = event::read(&message, &inner.keys) {
                            self.outbox.push(event);
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

/// Events on their way to the reader: bounded, and the connection never waits for the reader.
struct Outbox {
    sender: mpsc::Sender<StoreEvent>,
    pending: VecDeque<StoreEvent>,
}

impl Outbox {
    fn push(&mut self, event: StoreEvent) {
        if self.pending.len() >= MAX_PENDING {
            warn!("events come faster than they are read: the reader reads the store instead");
            self.collapse();
        } else {
            self.pending.push_back(event);
        }
    }

    /// Replaces all pending events by [`StoreEvent::Connected`].
    fn collapse(&mut self) {
        self.pending.clear();
        self.pending.push_back(StoreEvent::Connected);
    }

    fn flush(&mut self) {
        while let Some(event) = self.pending.pop_front() {
            if let Err(error) = self.sender.try_send(event) {
                self.pending.push_front(error.into_inner());
                return;
            }
        }
    }

    /// Waits until a pending event can be sent.
    async fn room(&self) {
        if self.pending.is_empty() || self.sender.reserve().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn silent() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}
