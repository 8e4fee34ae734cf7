//! Server-sent events: each move of a task as it happens.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use belljar_core::id::{FunctionId, TaskId};
use belljar_core::task::TaskStatus;
use belljar_store::TenantStore;
use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, sleep_until};

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::event_stream::{Moves, write_move};
use crate::extract::Query;
use crate::keys::FRESH;
use crate::policy::{OpenPermit, Quota};
use crate::problem::Problem;
use crate::reply;
use crate::schema::{Invalid, Status, Unavailable, UnknownId};

/// A silent stream sends a comment this often, for proxies that cut silent connections.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// While many events come, a stream sends those of so long together: each write costs as much as many events.
const GATHERED: Duration = Duration::from_millis(10);
/// The most groups of events that it takes at a time.
const MOST_GATHERED: usize = 256;
/// The most tasks that one stream may be about.
const MAX_IDS: usize = 1_000;

/// How many tasks' functions a stream remembers, in some 100 KiB; beyond that they are read again.
const MAX_KNOWN: usize = 4_096;

/// One open stream.
struct Stream {
    app: Arc<App>,
    events: broadcast::Receiver<Moves>,
    wanted: Wanted,
    /// Who reads it, and until when the key is believed.
    caller: Caller,
    checked_at: Instant,
    /// Counts it among those that its tenant has open.
    _open: Option<OpenPermit>,
    /// When it looks for events again.
    next_look: Instant,
    /// What is ready to be sent.
    ready: VecDeque<Bytes>,
    is_last: bool,
}

/// What a stream is about; an empty set stands for everything.
struct Wanted {
    tasks: HashSet<TaskId>,
    function: Option<FunctionId>,
    statuses: HashSet<TaskStatus>,
    /// Which tasks are of that function, until they end.
    known: HashMap<TaskId, bool>,
    /// Those of `tasks` whose end was sent: earlier moves may still arrive.
    ended: HashSet<TaskId>,
}

/// Moves of tasks, as they happen
///
/// Server-sent events. `task`: `{task_id, status}`, for each status that a task comes to: QUEUED when it is
/// accepted or goes back to the queue, RUNNING, and how it ends. `gap`: some may be missing. `overflow`,
/// `shutdown`: the stream ends; connect again. `unauthorized`: it ends since the key was revoked or expired.
#[utoipa::path(
    get, path = "/v1/events", tag = "Tasks",
    params(
        ("task_id" = Option<Vec<uuid::Uuid>>, Query,
            description = "Only these; repeat it, or separate by commas. The end of one that has ended comes first."),
        ("function_id" = Option<uuid::Uuid>, Query, description = "Only calls of this function."),
        ("status" = Option<Vec<Status>>, Query,
            description = "Only moves to these; repeat it, or separate by commas."),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        UnknownId, Invalid, Unavailable
    )
)]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    caller: Caller,
    query: Query,
) -> Result<Response, ApiError> {
    let wanted = Wanted {
        tasks: task_ids(&query)?,
        function: query.id("function_id")?,
        statuses: query.words("status")?,
        known: HashMap::new(),
        ended: HashSet::new(),
    };
    let _open = caller.open(Quota::EventStreams)?;
    // The subscription begins before the read of those that have ended already: none is missed.
    let events = app.events.watch(&app.store).await?;
    let ready = VecDeque::from([Bytes::from_static(b"retry: 1000\n: connected\n\n")]);
    let checked_at = Instant::now();
    let next_look = checked_at;
    let mut stream =
        Stream { app, events, wanted, caller, checked_at, _open, next_look, ready, is_last: false };
    stream.read_ended().await?;
    let body = futures_util::stream::unfold(stream, |mut stream| async {
        let bytes = stream.next().await?;
        Some((Ok::<_, Infallible>(bytes), stream))
    });
    Ok(reply::of("text/event-stream", Body::from_stream(body)))
}

fn task_ids(query: &Query) -> Result<HashSet<TaskId>, ApiError> {
    let tasks: HashSet<TaskId> = query.ids("task_id")?;
    if tasks.len() > MAX_IDS {
        let msg = format!("Input should name at most {MAX_IDS} tasks, not {}", tasks.len());
        return Err(ApiError::invalid(Problem::part("too_long", ["query", "task_id"], msg)));
    }
    Ok(tasks)
}

impl Stream {
    /// The next bytes of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.is_last {
                return None;
            }
            let key_check = self.checked_at + FRESH;
            tokio::select! {
                biased;
                () = self.app.draining.cancelled() => self.end("shutdown", "the gateway is shutting down: connect again"),
                () = sleep_until(key_check), if self.app.keys.is_some() => self.check_key().await,
                event = Self::event(&mut self.events, self.next_look) => match event {
                    None => self.ready.push_back(Bytes::from_static(b": still here\n\n")),
                    Some(event) => self.handle_events(event).await,
                },
            }
        }
    }

    /// The next event, not before `next_look`; `None` where none comes for long.
    async fn event(
        events: &mut broadcast::Receiver<Moves>,
        next_look: Instant,
    ) -> Option<Result<Moves, RecvError>> {
        if Instant::now() < next_look {
            sleep_until(next_look).await;
        }
        tokio::time::timeout(HEARTBEAT, events.recv()).await.ok()
    }

    /// Handles an event, and those that have come since.
    async fn handle_events(&mut self, first: Result<Moves, RecvError>) {
        self.next_look = Instant::now() + GATHERED;
        self.handle_event(first).await;
        for _ in 1..MOST_GATHERED {
            let next = match self.events.try_recv() {
                _ if self.is_last => return,
                Ok(moves) => Ok(moves),
                Err(TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
                // That it is over, the next look finds.
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            };
            self.handle_event(next).await;
        }
    }

    /// Ends the stream if its reader's key is not taken any more.
    async fn check_key(&mut self) {
        let Some(keys) = &self.app.keys else { return };
        self.checked_at = Instant::now();
        match keys.check(&self.caller, &self.app.store).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => self.end("unauthorized", refusal.sentence()),
            Err(_) => self.end("error", "the store is unreachable: connect again"),
        }
    }

    async fn handle_event(&mut self, event: Result<Moves, RecvError>) {
        match event {
            Ok(Moves::Moved(tenant, moves)) => {
                if tenant != *self.caller.tenant() {
                    return;
                }
                if self.wanted.is_everything() {
                    return self.ready.push_back(moves.text());
                }
                let mut text = String::new();
                for &(id, status) in &moves.tasks {
                    if self.wanted.has(id, status, self.app.store.of(self.caller.tenant())).await {
                        write_move(&mut text, id, status);
                    }
                }
                if !text.is_empty() {
                    self.ready.push_back(text.into());
                }
            }
            Ok(Moves::Gap) => {
                self.ready
                    .push_back(sentence("gap", "events may be missing: read what matters again"));
                if self.read_ended().await.is_err() {
                    self.end("error", "the store is unreachable: connect again");
                }
            }
            Err(RecvError::Lagged(missed)) => {
                self.end(
                    "overflow",
                    &format!("too slow: {missed} groups of events were dropped; connect again"),
                );
            }
            Err(RecvError::Closed) => self.is_last = true,
        }
    }

    /// Adds the ends of those named tasks that have ended already.
    async fn read_ended(&mut self) -> Result<(), ApiError> {
        let ids: Vec<_> = self.wanted.tasks.difference(&self.wanted.ended).copied().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        let store = self.app.store.of(self.caller.tenant());
        for (&id, result) in ids.iter().zip(store.results_within(&ids, 0).await?) {
            let status = result.ok_or(ApiError::UnknownTask(id))?.status;
            if status.is_terminal()
                && self.wanted.has(id, status, self.app.store.of(self.caller.tenant())).await
            {
                write_move(&mut text, id, status);
            }
        }
        if !text.is_empty() {
            self.ready.push_back(text.into());
        }
        Ok(())
    }

    fn end(&mut self, event: &str, why: &str) {
        self.ready.push_back(sentence(event, why));
        self.is_last = true;
    }
}

impl Wanted {
    /// Whether every move is sent.
    fn is_everything(&self) -> bool {
        self.tasks.is_empty() && self.statuses.is_empty() && self.function.is_none()
    }

    /// Whether to send a move; remembers that the end of a task was sent.
    async fn has(&mut self, id: TaskId, status: TaskStatus, store: TenantStore<'_>) -> bool {
        if !self.tasks.is_empty() {
            if !self.tasks.contains(&id) || self.ended.contains(&id) {
                return false;
            }
            if status.is_terminal() {
                self.ended.insert(id);
            }
        }
        let is_of_function = self.is_of_function(id, status, store).await;
        is_of_function && (self.statuses.is_empty() || self.statuses.contains(&status))
    }

    async fn is_of_function(
        &mut self,
        id: TaskId,
        status: TaskStatus,
        store: TenantStore<'_>,
    ) -> bool {
        let Some(function) = self.function else { return true };
        let known = if status.is_terminal() {
            self.known.remove(&id)
        } else {
            self.known.get(&id).copied()
        };
        if let Some(known) = known {
            return known;
        }
        let record = store.task(id).await.ok().flatten();
        let is_of_it = record.is_some_and(|record| record.spec.function_id == function);
        if !status.is_terminal() {
            if self.known.len() >= MAX_KNOWN {
                self.known.clear();
            }
            self.known.insert(id, is_of_it);
        }
        is_of_it
    }
}

/// An event with one sentence of plain characters.
fn sentence(event: &str, sentence: &str) -> Bytes {
    Bytes::from(format!("event: {event}\ndata: {{\"detail\":\"{sentence}\"}}\n\n"))
}
