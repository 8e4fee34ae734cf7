//! Carries the scheduler's words to the store and brings its answers back.
//!
//! At most one request of a kind is under way: one claim or comparison, one batch of results, one
//! heartbeat. Results and returns that come up meanwhile wait for the next batch; there can be no more
//! of them than calls in the hands of workers.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use belljar_core::id::DispatcherId;
use belljar_core::task::TaskAttempt;
use belljar_store::record::{HeartbeatReport, Completion, Requeued, Demand};
use belljar_store::{StoreEvent, Store, StoreError};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::event::{Action, Event};
use crate::functions::Functions;
use crate::retry;
use crate::transport::Transport;

/// How often a dispatcher shows that it lives: three times within the store's patience.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a claim that failed.
const CLAIM_PAUSE: Duration = Duration::from_millis(100);

type Underway<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Request<T> = Option<Underway<T>>;

pub(crate) struct Desk {
    id: DispatcherId,
    store: Store,
    host: String,
    functions: Functions,
    intake: Request<(Event, Vec<Completion>)>,
    /// Tasks that were given, on their way to their functions.
    given: FuturesUnordered<Underway<(Event, Vec<Completion>)>>,
    settling: Request<Vec<TaskAttempt>>,
    beating: Request<Result<HeartbeatReport, StoreError>>,
    next_beat: Instant,
    finished: Vec<Completion>,
    requeued: Vec<Requeued>,
    /// How many places have become free since the store was last told.
    freed: usize,
}

impl Desk {
    pub(crate) fn new(id: DispatcherId, store: Store, host: String) -> Self {
        Self {
            id,
            store,
            host,
            functions: Functions::new(),
            intake: None,
            given: FuturesUnordered::new(),
            settling: None,
            beating: None,
            next_beat: Instant::now(),
            finished: Vec::new(),
            requeued: Vec::new(),
            freed: 0,
        }
    }

    /// Whether nothing waits for the store.
    pub(crate) fn is_idle(&self) -> bool {
        let nothing_to_say = self.finished.is_empty() && self.requeued.is_empty();
        self.settling.is_none() && self.given.is_empty() && nothing_to_say
    }

    /// Takes on an action that concerns the store.
    pub(crate) fn take(&mut self, action: Action) {
        let store = self.store.clone();
        let id = self.id;
        match action {
            Action::Claim(wants) => {
                self.freed = 0;
                self.intake = Some(Box::pin(claim(store, id, wants, self.functions.clone())));
            }
            Action::Reconcile => {
                self.intake = Some(Box::pin(async move {
                    let held = retry::until_ok("compare", || store.leased(id)).await;
                    (Event::Held(held), Vec::new())
                }));
            }
            Action::Finish(finished) => self.finished.push(finished),
            Action::Freed(places) => self.freed += places,
            Action::Requeue(requeued) => self.requeued.push(requeued),
            Action::Send { .. } | Action::Stop { .. } => {}
        }
    }

    /// What a notice means; some ask for a heartbeat out of turn.
    pub(crate) fn hear(&mut self, notice: StoreEvent) -> Option<Event> {
        if matches!(notice, StoreEvent::Delayed | StoreEvent::Connected) {
            self.beat_soon();
        }
        match notice {
            StoreEvent::Work => Some(Event::WorkArrived),
            StoreEvent::Delivered { tasks, is_last } => {
                let (store, functions) = (self.store.clone(), self.functions.clone());
                self.given.push(Box::pin(async move {
                    let (assignments, ended) = functions.attach(&store, tasks).await;
                    (Event::Given { assignments, is_last }, ended)
                }));
                Some(Event::Coming)
            }
            StoreEvent::Cancel(task_id) => Some(Event::CancelWanted(task_id)),
            StoreEvent::Connected => Some(Event::Reconnected),
            StoreEvent::Delayed | StoreEvent::Ended(_) | StoreEvent::StatusChanged(..) => None,
        }
    }

    /// Waits for the next answer of the store. Cancel safe.
    pub(crate) async fn answer(&mut self) -> Event {
        loop {
            self.start_settling();
            tokio::select! {
                // New tasks first: a slot waits for them, and results are only recorded.
                biased;
                (event, ended) = answered(&mut self.intake) => {
                    self.finished.extend(ended);
                    return event;
                }
                Some((event, ended)) = self.given.next() => {
                    self.finished.extend(ended);
                    return event;
                }
                settled = answered(&mut self.settling) => return Event::Settled(settled),
                beat = answered(&mut self.beating) => {
                    if let Some(event) = self.handle_beat(beat) {
                        return event;
                    }
                }
                () = tokio::time::sleep_until(self.next_beat), if self.beating.is_none() => {
                    return Event::Tick;
                }
            }
        }
    }

    /// Gives back what is still held and signs off. A store that is away finds out by itself.
    pub(crate) async fn retire(self) {
        if let Err(error) = self.store.retire(self.id).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "left without signing off");
        }
    }

    fn start_settling(&mut self) {
        if self.settling.is_some() || (self.finished.is_empty() && self.requeued.is_empty()) {
            return;
        }
        let finished = std::mem::take(&mut self.finished);
        let requeued = std::mem::take(&mut self.requeued);
        let freed = if finished.is_empty() { 0 } else { std::mem::take(&mut self.freed) };
        let (store, id) = (self.store.clone(), self.id);
        self.settling = Some(Box::pin(settle(store, (id, freed), finished, requeued)));
    }

    /// Has the next heartbeat go out at once: it tells what is served.
    pub(crate) fn beat_soon(&mut self) {
        self.next_beat = Instant::now();
    }

    /// Shows the store that this dispatcher lives, when it is time.
    pub(crate) fn beat_if_due(&mut self, transport: &Transport) {
        if self.beating.is_some() || Instant::now() < self.next_beat {
            return;
        }
        let (store, id) = (self.store.clone(), self.id);
        let (classes, workers) = (transport.served(), transport.workers(id, &self.host));
        self.next_beat = Instant::now() + BEAT_INTERVAL;
        self.beating = Some(Box::pin(async move { store.heartbeat(id, &classes, &workers).await }));
    }

    fn handle_beat(&mut self, beat: Result<HeartbeatReport, StoreError>) -> Option<Event> {
        let Ok(beat) = beat else { return None };
        if let Some(due_ms) = beat.next_due_ms {
            let due = Instant::now() + Duration::from_millis(due_ms);
            self.next_beat = self.next_beat.min(due);
        }
        if beat.recovered > 0 {
            tracing::warn!(tasks = beat.recovered, "took over from a vanished dispatcher");
            return Some(Event::WorkArrived);
        }
        None
    }
}

/// The answer of a request that is under way; never where there is none.
async fn answered<T>(request: &mut Request<T>) -> T {
    let Some(pending) = request else { return std::future::pending().await };
    let answer = pending.await;
    *request = None;
    answer
}

async fn claim(
    store: Store,
    id: DispatcherId,
    wants: Vec<Demand>,
    functions: Functions,
) -> (Event, Vec<Completion>) {
    match store.claim(id, &wants).await {
        Ok(tasks) => {
            let (assignments, ended) = functions.attach(&store, tasks).await;
            (Event::Claimed(assignments), ended)
        }
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "claim failed");
            tokio::time::sleep(CLAIM_PAUSE).await;
            // Whether the store gave tasks out before the answer was lost is found by comparing.
            (Event::IntakeFailed, Vec::new())
        }
    }
}

async fn settle(
    store: Store,
    (id, freed): (DispatcherId, usize),
    finished: Vec<Completion>,
    requeued: Vec<Requeued>,
) -> Vec<TaskAttempt> {
    if !finished.is_empty() {
        retry::until_ok("publish results", || store.complete(id, freed, &finished)).await;
        fail::fail_point!("stored");
    }
    if !requeued.is_empty() {
        retry::until_ok("give tasks back", || store.requeue(&requeued)).await;
    }
    let ends = finished.iter().map(|finished| finished.report.task);
    ends.chain(requeued.iter().map(|requeued| requeued.task)).collect()
}
