//! Where the time of one request went, for the `Server-Timing` header, and which route it was for.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath};
use http::request::Parts;

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

/// What the handlers of one request note about it.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    read_us: AtomicU32,
    store_us: AtomicU32,
    wait_us: AtomicU32,
    route: OnceLock<MatchedPath>,
}

impl Notes {
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

    /// The pattern of the route, `none` where there was none.
    pub(crate) fn route(&self) -> &str {
        self.route.get().map_or("none", MatchedPath::as_str)
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

/// A handler's access to the notes on its request. Every handler takes it, which also tells the
/// metrics the route.
pub(crate) struct Scope(pub(crate) Arc<Notes>);

impl<S: Sync> FromRequestParts<S> for Scope {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let notes = parts.extensions.get::<Arc<Notes>>().cloned().unwrap_or_default();
        if let Some(path) = parts.extensions.get::<MatchedPath>() {
            notes.route.get_or_init(|| path.clone());
        }
        Ok(Self(notes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_took_time_is_shown() {
        let notes = Notes::default();
        notes.store_us.store(1_250, Ordering::Relaxed);
        let text = notes.header(Instant::now());
        assert!(text.starts_with("store;dur=1.250, total;dur="), "{text}");
        assert_eq!(notes.route(), "none");
    }
}
