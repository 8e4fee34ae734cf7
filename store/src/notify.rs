//! Hearing of changes: one subscription on a connection of its own that mends itself.

use std::collections::VecDeque;
use std::time::Duration;

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::invocation::Invocation;
use belljar_core::task::{Attempt, TaskAttempt, TaskStatus};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use redis::{Msg, RedisError};
use std::pin::pin;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

use crate::Store;
use crate::card::{Card, number, status_of};
use crate::connection::{FIRST_PAUSE, LAST_PAUSE};
use crate::error::StoreError;
use crate::record::{ClaimedTask, TaskResult, Timestamp};

/// How often a silent subscription is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(2);

/// How many notices wait for a slow reader before they are dropped for one [`StoreEvent::Connected`].
const WAITING_NOTICES: usize = 1024;

/// The length of a task id in a message.
const ID_BYTES: usize = 36;

/// Where a dispatcher is handed tasks: this and its id.
const GIVEN: &str = "belljar:given:";

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
    fn channel(self) -> String {
        match self {
            Self::Ended => "belljar:ended".to_owned(),
            Self::StatusChanges => "belljar:moved".to_owned(),
            Self::Work => "belljar:work".to_owned(),
            Self::Cancel => "belljar:cancel".to_owned(),
            Self::Deliveries(dispatcher) => format!("{GIVEN}{dispatcher}"),
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
        let channels = topics.iter().map(|topic| topic.channel()).collect();
        let listener = Listener {
            client: self.link.client().clone(),
            timeout: self.config.timeout,
            channels,
            outbox: Outbox { sender, waiting: VecDeque::new() },
        };
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(listener.run()).await });
        Ok(Subscription { receiver, _stop: stop.drop_guard() })
    }
}

struct Listener {
    client: redis::Client,
    timeout: Duration,
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
        let connecting = self.client.get_async_pubsub();
        let (mut sink, mut messages) =
            timeout(self.timeout, connecting).await.map_err(|_| silent())??.split();
        timeout(self.timeout, sink.subscribe(&self.channels)).await.map_err(|_| silent())??;
        self.outbox.collapse();
        loop {
            // A ping runs beside the messages, whose reading must never wait: they would pile up.
            let patience = self.timeout;
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
                        Either::Left((Either::Left((pong, _)), _)) => Event::Pong(pong),
                        Either::Left((Either::Right((message, _)), _)) => Event::Message(message),
                        Either::Right(_) => Event::Room,
                    }
                };
                match event {
                    Event::Pong(pong) => {
                        pong?;
                        break;
                    }
                    Event::Message(Some(message)) => {
                        if let Some(notice) = read(&message) {
                            self.outbox.push(notice);
                        }
                    }
                    Event::Message(None) => return Err(silent()),
                    Event::Room => {}
                }
            }
        }
    }
}

enum Event {
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

fn read(message: &Msg) -> Option<StoreEvent> {
    let payload = message.get_payload_bytes();
    match (message.get_channel_name(), payload) {
        ("belljar:ended", ends) => read_ends(ends).map(StoreEvent::Ended),
        ("belljar:moved", moved) => read_moved(moved),
        ("belljar:work", b"delayed") => Some(StoreEvent::Delayed),
        ("belljar:work", _) => Some(StoreEvent::Work),
        ("belljar:cancel", bytes) => id(bytes).map(StoreEvent::Cancel),
        // One that cannot be read is found by comparing: the store counts it as held.
        (channel, tasks) if channel.starts_with(GIVEN) => {
            Some(read_given(tasks).unwrap_or(StoreEvent::Connected))
        }
        _ => None,
    }
}

fn id(bytes: &[u8]) -> Option<TaskId> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Reads the message of `scripts/ending.lua`.
fn read_ends(message: &[u8]) -> Option<Vec<EndedTask>> {
    let line = message.iter().position(|&byte| byte == b'\n')?;
    let expires_at = Some(Timestamp(number(&message[..line])?.checked_mul(1000)?));
    let mut rest = &message[line + 1..];
    let mut ends = Vec::with_capacity(rest.len() / ID_BYTES);
    while !rest.is_empty() {
        let (id_text, after) = rest.split_at_checked(ID_BYTES)?;
        let (&letter, after) = after.split_first()?;
        let colon = after.iter().position(|&byte| byte == b':')?;
        let (length, after) = (&after[..colon], &after[colon + 1..]);
        let (id, status) = (id(id_text)?, status_of(letter)?);
        let result = if length.is_empty() {
            rest = after;
            None
        } else {
            let (result, after) = after.split_at_checked(usize::try_from(number(length)?).ok()?)?;
            rest = after;
            let result = Bytes::copy_from_slice(result);
            // Failures are never told, so that whoever reads them also hears why.
            Some(TaskResult { result, expires_at, ..TaskResult::of(status) })
        };
        ends.push(EndedTask { id, status, result });
    }
    Some(ends)
}

/// Reads the message that `scripts/shared.lua` describes.
fn read_moved(message: &[u8]) -> Option<StoreEvent> {
    let (letter, ids) = message.split_first()?;
    let through: &[TaskStatus] = match letter {
        b'Q' => &[TaskStatus::Queued],
        b'R' => &[TaskStatus::Running],
        b'G' => &[TaskStatus::Queued, TaskStatus::Running],
        _ => return None,
    };
    let (ids, []) = ids.as_chunks::<ID_BYTES>() else { return None };
    Some(StoreEvent::StatusChanged(
        ids.iter().map(|bytes| id(bytes)).collect::<Option<_>>()?,
        through,
    ))
}

/// Reads the message of `scripts/submit.lua`.
fn read_given(message: &[u8]) -> Option<StoreEvent> {
    let (first, mut rest) = message.split_first()?;
    let mut tasks = Vec::new();
    while !rest.is_empty() {
        let (id_text, after) = rest.split_at_checked(ID_BYTES)?;
        let line = after.iter().position(|&byte| byte == b'\n')?;
        let space = after.iter().position(|&byte| byte == b' ')?;
        let length = |text: &[u8]| usize::try_from(number(text)?).ok();
        let (card_bytes, args_bytes) =
            (length(&after[..space])?, length(after.get(space + 1..line)?)?);
        let (card, after) = after[line + 1..].split_at_checked(card_bytes)?;
        let (args, after) = after.split_at_checked(args_bytes)?;
        let id = id(id_text)?;
        let (_, body) = Card::read(id, Bytes::copy_from_slice(card)).ok()?.accepted(id).ok()?;
        let args = Bytes::copy_from_slice(args);
        let task = TaskAttempt { task_id: id, attempt: Attempt(1) };
        let invocation = Invocation { task, spec: body.spec, code: None, args };
        tasks.push(ClaimedTask { invocation, deaths: 0 });
        rest = after;
    }
    Some(StoreEvent::Delivered { tasks, is_last: *first == b'C' })
}

fn silent() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}
