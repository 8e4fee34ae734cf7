//! Server-sent events: each task's end as it happens.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use belljar_core::id::{FunctionId, TaskId};
use belljar_core::task::TaskStatus;
use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Query, not_a_uuid};
use crate::notices::Event;
use crate::reply;
use crate::timing::Scope;
use crate::validate::Problem;

/// A silent stream says so often that it lives, for proxies that cut what is silent.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The most tasks that one stream may be about.
const MAX_IDS: usize = 1_000;

/// One open stream.
struct Stream {
    app: Arc<App>,
    events: broadcast::Receiver<Event>,
    tasks: HashSet<TaskId>,
    function: Option<FunctionId>,
    /// What is ready to be sent.
    ready: VecDeque<Bytes>,
    is_last: bool,
}

/// `GET /v1/events`, of all tasks or of those in `task_id` or of one `function_id`.
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    _: Scope,
    query: Query,
) -> Result<Response, ApiError> {
    let tasks = task_ids(&query)?;
    let function = query.parsed("function_id", "uuid_parsing")?;
    // Listening begins before the look at those that have ended already: none is missed.
    let events = app.hub.events();
    let ready = VecDeque::from([Bytes::from_static(b"retry: 1000\n: connected\n\n")]);
    let mut stream = Stream { app, events, tasks, function, ready, is_last: false };
    stream.look().await?;
    let body = futures_util::stream::unfold(stream, |mut stream| async {
        let bytes = stream.next().await?;
        Some((Ok::<_, Infallible>(bytes), stream))
    });
    Ok(reply::of("text/event-stream", Body::from_stream(body)))
}

fn task_ids(query: &Query) -> Result<HashSet<TaskId>, ApiError> {
    let malformed =
        |kind, msg: String| ApiError::invalid(Problem::part(kind, ["query", "task_id"], msg));
    let mut tasks = HashSet::new();
    for text in query.all("task_id").filter(|text| !text.is_empty()) {
        tasks.insert(text.parse().map_err(|_| malformed("uuid_parsing", not_a_uuid(text)))?);
    }
    if tasks.len() > MAX_IDS {
        let msg = format!("Input should name at most {MAX_IDS} tasks, not {}", tasks.len());
        return Err(malformed("too_long", msg));
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
            tokio::select! {
                biased;
                () = self.app.draining.cancelled() => self.end("shutdown", "the gateway is shutting down: connect again"),
                event = tokio::time::timeout(HEARTBEAT, self.events.recv()) => match event {
                    Err(_) => self.ready.push_back(Bytes::from_static(b": still here\n\n")),
                    Ok(event) => self.take_in(event).await,
                },
            }
        }
    }

    async fn take_in(&mut self, event: Result<Event, RecvError>) {
        match event {
            Ok(Event::Ended(id, status)) if self.is_about(id).await => self.tell(id, status),
            Ok(Event::Ended(..)) => {}
            Ok(Event::Gap) => {
                self.ready.push_back(text("gap", "events may be missing: read what matters again"));
                if self.look().await.is_err() {
                    self.end("error", "the store is unreachable: connect again");
                }
            }
            Err(RecvError::Lagged(missed)) => {
                self.end(
                    "overflow",
                    &format!("too slow: {missed} events were dropped; connect again"),
                );
            }
            Err(RecvError::Closed) => self.is_last = true,
        }
    }

    async fn is_about(&self, id: TaskId) -> bool {
        if !self.tasks.is_empty() && !self.tasks.contains(&id) {
            return false;
        }
        let Some(function) = self.function else { return true };
        let record = self.app.store.task(id).await.ok().flatten();
        record.is_some_and(|record| record.spec.function_id == function)
    }

    /// Tells of those named tasks that have ended already.
    async fn look(&mut self) -> Result<(), ApiError> {
        if self.tasks.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = self.tasks.iter().copied().collect();
        for (id, result) in ids.iter().zip(self.app.store.results_within(&ids, 0).await?) {
            match result {
                Some(found) if found.status.is_terminal() => self.tell(*id, found.status),
                Some(_) => {}
                None => return Err(ApiError::UnknownTask(*id)),
            }
        }
        Ok(())
    }

    fn tell(&mut self, id: TaskId, status: TaskStatus) {
        let data = format!("{{\"task_id\":\"{id}\",\"status\":\"{status}\"}}");
        self.ready.push_back(Bytes::from(format!("event: task\nid: {id}\ndata: {data}\n\n")));
    }

    fn end(&mut self, event: &str, why: &str) {
        self.ready.push_back(text(event, why));
        self.is_last = true;
    }
}

/// An event with one sentence of plain characters.
fn text(event: &str, sentence: &str) -> Bytes {
    Bytes::from(format!("event: {event}\ndata: {{\"detail\":\"{sentence}\"}}\n\n"))
}
