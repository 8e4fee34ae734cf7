//! Server-sent events: what a task writes and how far it has come, while it runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use belljar_core::id::TaskId;
use belljar_core::live::WATCH_TTL;
use belljar_store::record::TaskRecord;
use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::extract::InPath;
use crate::keys::FRESH;
use crate::live_reader::{LiveReader, event};
use crate::live_stream::LiveMessage;
use crate::policy::{OpenPermit, Quota};
use crate::reply;
use crate::schema::{Invalid, Unavailable, UnknownId};
use crate::timing::{Phase, RequestTiming};
use crate::waiters::Event;

/// A silent stream sends a comment this often, for proxies that cut silent connections.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many pieces wait for a slow client before the task is not listened to.
const PIECES: usize = 8;
/// How soon it is asked again whether the task runs, at first and at most.
const FIRST_ASK: Duration = Duration::from_millis(100);
const LAST_ASK: Duration = Duration::from_secs(1);

/// Output and progress of a task, as they come
///
/// Server-sent events. `stdout`, `stderr`: `{text, skipped}`, where `skipped` counts bytes that are left out before the text, if any
/// are: a task that writes much is cut to 16 KiB of each stream ten times a second. `progress`: `{done, total, note}`. `attempt`:
/// `{attempt}`, where the task runs once more: its output begins anew. `end`: `{task_id, status}`, the last one. `shutdown`,
/// `unauthorized`, `error`: the stream ends before the task; connect again. The header `Last-Event-ID` goes on where an earlier
/// stream of the task was cut.
#[utoipa::path(
    get, path = "/v1/tasks/{task_id}/output", tag = "Tasks", operation_id = "follow_output",
    params(("task_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        UnknownId, Invalid, Unavailable
    )
)]
pub(crate) async fn output(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(id): InPath<TaskId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let found = timing.time(Phase::Store, app.store.of(caller.tenant()).task(id)).await?;
    found.ok_or(ApiError::UnknownTask(id))?;
    let open = caller.open(Quota::EventStreams)?;
    let messages = app.live_stream.watch(&app.store).await?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let reader = last.and_then(LiveReader::after).unwrap_or_default();
    let (pieces, receiver) = mpsc::channel(PIECES);
    let follower =
        Follower { app, caller, id, reader, messages, pieces, is_heard: false, _open: open };
    tokio::spawn(follower.run());
    let body = futures_util::stream::unfold(receiver, |mut receiver| async {
        Some((Ok::<_, Infallible>(receiver.recv().await?), receiver))
    });
    Ok(reply::of("text/event-stream", Body::from_stream(body)))
}

/// One open stream.
struct Follower {
    app: Arc<App>,
    caller: Caller,
    id: TaskId,
    reader: LiveReader,
    messages: broadcast::Receiver<LiveMessage>,
    /// To the client.
    pieces: mpsc::Sender<Bytes>,
    /// Whether the worker knows that the task is watched.
    is_heard: bool,
    /// Counts it among those that its tenant has open.
    _open: Option<OpenPermit>,
}

/// Why a stream ends.
enum Ended {
    /// The task has ended, or the client has gone.
    Done,
    /// The client must connect again: the event, and why.
    Cut(&'static str, &'static str),
}

impl Follower {
    /// Follows the task to its end.
    async fn run(mut self) {
        let Ended::Cut(name, why) = self.follow().await else { return };
        let _ = self.pieces.send(event(name, None, &serde_json::json!({ "detail": why }))).await;
    }

    async fn follow(&mut self) -> Ended {
        let app = Arc::clone(&self.app);
        let start = Bytes::from_static(b"retry: 1000\n: connected\n\n");
        // Before the record is read: its end is not missed.
        let Ok(guard) = app.notifier.waiters.register(vec![self.id]) else {
            return Ended::Cut("error", "too many requests wait for tasks: connect again");
        };
        if self.pieces.send(start).await.is_err() {
            return Ended::Done;
        }
        if let Some(ended) = self.read().await {
            return ended;
        }
        let (mut pause, mut checked_at) = (FIRST_ASK, Instant::now());
        let (mut next_ask, mut next_beat) = (Instant::now(), Instant::now() + HEARTBEAT);
        loop {
            tokio::select! {
                biased;
                () = app.draining.cancelled() => {
                    return Ended::Cut("shutdown", "the gateway is shutting down: connect again");
                }
                () = self.pieces.closed() => return Ended::Done,
                () = sleep_until(checked_at + FRESH), if app.keys.is_some() => {
                    checked_at = Instant::now();
                    if let Some(ended) = self.check_key().await {
                        return ended;
                    }
                }
                message = self.messages.recv() => self.handle(message).await,
                happened = guard.next_event() => {
                    if let Event::Reread | Event::Ended(_) = happened
                        && let Some(ended) = self.read().await
                    {
                        return ended;
                    }
                }
                () = sleep_until(next_ask) => {
                    // Where it fails, the next one may do.
                    let _ = app.store.watch_task(self.id, !self.is_heard).await;
                    pause = if self.is_heard { WATCH_TTL / 3 } else { (pause * 2).min(LAST_ASK) };
                    next_ask = Instant::now() + pause;
                }
                () = sleep_until(next_beat) => {
                    next_beat = Instant::now() + HEARTBEAT;
                    let _ = self.pieces.send(Bytes::from_static(b": still here\n\n")).await;
                }
            }
        }
    }

    /// Reads the record; whether the stream ends with that.
    async fn read(&mut self) -> Option<Ended> {
        let found = self.app.store.of(self.caller.tenant()).task(self.id).await;
        let Ok(Some(record)) = found else {
            return Some(Ended::Cut("error", "the task cannot be read: connect again"));
        };
        let (text, is_ended) = (self.reader.record(&record), record.status.is_terminal());
        self.send(text).await;
        if is_ended {
            self.send(end_of(&record)).await;
        }
        is_ended.then_some(Ended::Done)
    }

    async fn handle(&mut self, message: Result<LiveMessage, RecvError>) {
        match message {
            Ok(LiveMessage::Updates(updates)) => {
                for update in updates.iter().filter(|update| update.task.task_id == self.id) {
                    self.is_heard = true;
                    let text = self.reader.update(update);
                    self.send(text).await;
                }
            }
            // The worker tells again what is missing, as far as it has it.
            Ok(LiveMessage::Gap) | Err(_) => self.is_heard = false,
        }
    }

    async fn send(&self, text: Bytes) {
        if !text.is_empty() {
            // An error means that the client has gone, which is noticed elsewhere.
            let _ = self.pieces.send(text).await;
        }
    }

    async fn check_key(&self) -> Option<Ended> {
        let keys = self.app.keys.as_ref()?;
        match keys.check(&self.caller, &self.app.store).await {
            Ok(Ok(())) => None,
            Ok(Err(refusal)) => Some(Ended::Cut("unauthorized", refusal.sentence())),
            Err(_) => Some(Ended::Cut("error", "the store is unreachable: connect again")),
        }
    }
}

fn end_of(record: &TaskRecord) -> Bytes {
    let data = serde_json::json!({ "task_id": record.id, "status": record.status });
    event("end", None, &data)
}
