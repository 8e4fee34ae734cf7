//! Where the time of one request goes, for the `Server-Timing` header, which route it is for, and what it is about.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use axum::extract::MatchedPath;
use belljar_core::id::{FunctionId, SessionId, TaskId};
use belljar_traces::Sampled;
use http::HeaderValue;

/// A part of a request's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Receiving and reading the body.
    Read,
    /// Asking the store.
    Store,
    /// Waiting for a task to end.
    Wait,
}

/// The times of one request; an extension of it.
#[derive(Debug, Default)]
pub(crate) struct RequestTiming {
    read_us: AtomicU32,
    store_us: AtomicU32,
    wait_us: AtomicU32,
    wrote: AtomicBool,
    route: OnceLock<MatchedPath>,
    request_id: OnceLock<HeaderValue>,
    address: OnceLock<IpAddr>,
    function: OnceLock<FunctionId>,
    tasks: OnceLock<(TaskId, usize)>,
    session: OnceLock<SessionId>,
    /// Boxed: most requests are not sampled.
    sampled: OnceLock<Box<Sampled>>,
}

impl RequestTiming {
    /// Adds the time since `start` to `phase`.
    pub(crate) fn add(&self, phase: Phase, start: Instant) {
        let spent = u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX);
        self.cell(phase).fetch_add(spent, Ordering::Relaxed);
    }

    /// Awaits `work` as part of `phase`.
    pub(crate) async fn time<T>(&self, phase: Phase, work: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let result = work.await;
        self.add(phase, start);
        result
    }

    const fn cell(&self, phase: Phase) -> &AtomicU32 {
        match phase {
            Phase::Read => &self.read_us,
            Phase::Store => &self.store_us,
            Phase::Wait => &self.wait_us,
        }
    }

    /// Whether the request took the store any time.
    pub(crate) fn asked_store(&self) -> bool {
        self.store_us.load(Ordering::Relaxed) > 0
    }

    /// The store took a write that it refuses when its memory or disk is full.
    pub(crate) fn set_wrote(&self) {
        self.wrote.store(true, Ordering::Relaxed);
    }

    /// Whether it did.
    pub(crate) fn wrote(&self) -> bool {
        self.wrote.load(Ordering::Relaxed)
    }

    /// Sets the id of the request, for lines of the log.
    pub(crate) fn set_request_id(&self, id: &HeaderValue) {
        self.request_id.get_or_init(|| id.clone());
    }

    /// The id of the request; empty where nothing that is logged has it.
    pub(crate) fn request_id(&self) -> &str {
        self.request_id.get().and_then(|id| id.to_str().ok()).unwrap_or_default()
    }

    /// Sets the address that the request comes from.
    pub(crate) fn set_address(&self, address: IpAddr) {
        self.address.get_or_init(|| address);
    }

    /// Where the request comes from; `None` for a unix socket.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address.get().copied()
    }

    /// Sets the function that the request is about.
    pub(crate) fn set_function(&self, id: FunctionId) {
        self.function.get_or_init(|| id);
    }

    /// The function that the request is about.
    pub(crate) fn function(&self) -> Option<FunctionId> {
        self.function.get().copied()
    }

    /// Sets the tasks that the request is about: the first, and how many there are.
    pub(crate) fn set_tasks(&self, first: TaskId, count: usize) {
        self.tasks.get_or_init(|| (first, count));
    }

    /// Sets the session that the request is about.
    pub(crate) fn set_session(&self, id: SessionId) {
        self.session.get_or_init(|| id);
    }

    /// The session that the request is about.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.session.get().copied()
    }

    /// The tasks that the request is about.
    pub(crate) fn tasks(&self) -> Option<(TaskId, usize)> {
        self.tasks.get().copied()
    }

    /// The request is sampled.
    pub(crate) fn set_sampled(&self, sampled: Sampled) {
        self.sampled.get_or_init(|| Box::new(sampled));
    }

    /// The span of the request, where it is sampled.
    pub(crate) fn sampled(&self) -> Option<&Sampled> {
        self.sampled.get().map(|sampled| &**sampled)
    }

    /// Sets the route.
    pub(crate) fn set_route(&self, path: MatchedPath) {
        self.route.get_or_init(|| path);
    }

    /// The pattern of the route without a trailing slash, `none` where no route matches.
    pub(crate) fn route(&self) -> &str {
        let path = self.route.get().map_or("none", MatchedPath::as_str);
        path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path)
    }

    /// The value of the `Server-Timing` header; durations are in milliseconds.
    pub(crate) fn header(&self, started: Instant) -> String {
        let mut text = String::with_capacity(72);
        for (name, phase) in [("read", Phase::Read), ("store", Phase::Store), ("wait", Phase::Wait)]
        {
            let us = self.cell(phase).load(Ordering::Relaxed);
            if us > 0 {
                let _ = write!(text, "{name};dur={}.{:03}, ", us / 1000, us % 1000);
            }
        }
        let us = started.elapsed().as_micros();
        let _ = write!(text, "total;dur={}.{:03}", us / 1000, us % 1000);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_took_time_is_shown() {
        let timing = RequestTiming::default();
        timing.store_us.store(1_250, Ordering::Relaxed);
        let text = timing.header(Instant::now());
        assert!(text.starts_with("store;dur=1.250, total;dur="), "{text}");
        assert_eq!(timing.route(), "none");
    }
}
