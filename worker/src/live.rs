//! Shows running calls: the output of those that somebody watches, and the progress of those that tell it.
//!
//! A call of which neither is true pays for a few loads of atomics: nothing is copied and nothing is sent.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use belljar_core::live::{LIVE_INTERVAL, LiveChunk, LiveUpdate, Progress, WATCH_TTL};
use belljar_core::task::TaskAttempt;
use futures_util::task::AtomicWaker;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::child::output::Streams;
use crate::event::PoolEvent;

/// Whether anybody asks for the output of a slot's call. A slot has one for its whole life.
#[derive(Debug, Default)]
pub struct Watch {
    /// How often somebody asked since the call began.
    asked: AtomicU32,
    /// Whether what was written before is wanted too.
    from_start: AtomicBool,
    waker: AtomicWaker,
}

impl Watch {
    /// Another call begins, which nobody watches.
    pub(crate) fn reset(&self) {
        self.asked.store(0, Ordering::Relaxed);
        self.from_start.store(false, Ordering::Relaxed);
    }

    /// Somebody watches the call, for [`WATCH_TTL`] from now.
    pub(crate) fn ask(&self, from_start: bool) {
        self.from_start.fetch_or(from_start, Ordering::Relaxed);
        self.asked.fetch_add(1, Ordering::Release);
        self.waker.wake();
    }
}

/// Where a running call shows itself.
#[derive(Debug)]
pub struct Live<'a> {
    task: TaskAttempt,
    watch: &'a Watch,
    events: &'a mpsc::Sender<PoolEvent>,
    has_progress: AtomicBool,
    // Of one task of the runtime, which never waits for itself; a lock since that task may move between threads.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The number of the last ask that was noticed, and until when that holds.
    noticed: u32,
    watched_until: Option<Instant>,
    /// No update goes out before.
    next: Instant,
    /// How much of each stream was shown.
    shown: [u64; 2],
    /// What the call said last, if that was not shown.
    progress: Option<Progress>,
}

impl<'a> Live<'a> {
    /// Of the call of `task`, which `watch` tells whether anybody watches.
    pub fn new(task: TaskAttempt, watch: &'a Watch, events: &'a mpsc::Sender<PoolEvent>) -> Self {
        let state = State {
            noticed: 0,
            watched_until: None,
            next: Instant::now() + LIVE_INTERVAL,
            shown: [0; 2],
            progress: None,
        };
        Self { task, watch, events, has_progress: AtomicBool::new(false), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call says how far it has come.
    pub fn progress(&self, progress: Progress) {
        self.state().progress = Some(progress);
        self.has_progress.store(true, Ordering::Relaxed);
    }

    /// Waits for `work`, reading what the child writes meanwhile, and shows what is to be shown.
    pub(crate) async fn while_showing<F: Future>(
        &self,
        streams: &mut Streams,
        work: F,
    ) -> F::Output {
        let mut work = pin!(work);
        loop {
            let written = streams.written();
            tokio::select! {
                biased;
                done = &mut work => return done,
                // Before the pump, which is always ready while a call writes all the time.
                () = self.due(written) => self.show(streams),
                () = streams.pump() => {}
            }
        }
    }

    /// Waits until an update is due, where so much was `written`.
    async fn due(&self, written: [u64; 2]) {
        let due = std::future::poll_fn(|context| {
            self.watch.waker.register(context.waker());
            self.next_update(written).map_or(Poll::Pending, Poll::Ready)
        });
        sleep_until(due.await).await;
    }

    /// When the next update is due, if one is.
    fn next_update(&self, written: [u64; 2]) -> Option<Instant> {
        let asked = self.watch.asked.load(Ordering::Acquire);
        if asked == 0 && !self.has_progress.load(Ordering::Relaxed) {
            return None;
        }
        let state = self.state();
        if asked != state.noticed {
            // Who has begun to watch learns at once that the call runs here.
            return Some(Instant::now());
        }
        let has_news = state.progress.is_some() || (written != state.shown && state.is_watched());
        has_news.then_some(state.next)
    }

    fn show(&self, streams: &Streams) {
        let mut state = self.state();
        let asked = self.watch.asked.load(Ordering::Acquire);
        if asked != state.noticed {
            state.noticed = asked;
            state.watched_until = Some(Instant::now() + WATCH_TTL);
            if self.watch.from_start.swap(false, Ordering::Relaxed) {
                state.shown = [0; 2];
            }
        }
        let [stdout, stderr] = match state.is_watched() {
            true => streams.since(state.shown),
            false => [LiveChunk::default(), LiveChunk::default()],
        };
        state.next = Instant::now() + LIVE_INTERVAL;
        let progress = state.progress.clone();
        let update = LiveUpdate { task: self.task, stdout, stderr, progress };
        // Where the owner of the pool is behind, the next update has it.
        if self.events.try_send(PoolEvent::Live(Box::new(update))).is_ok() {
            if state.is_watched() {
                state.shown = streams.written();
            }
            state.progress = None;
            self.has_progress.store(false, Ordering::Relaxed);
        }
    }

    /// What a call that has ended said last, if that was not shown.
    pub(crate) fn last(&self) -> Option<LiveUpdate> {
        if !self.has_progress.load(Ordering::Relaxed) {
            return None;
        }
        let progress = self.state().progress.take();
        let (stdout, stderr) = (LiveChunk::default(), LiveChunk::default());
        progress.is_some().then_some(LiveUpdate { task: self.task, stdout, stderr, progress })
    }
}

impl State {
    fn is_watched(&self) -> bool {
        self.watched_until.is_some_and(|until| Instant::now() < until)
    }
}
