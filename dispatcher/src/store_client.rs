//! Carries out the scheduler's actions at the store and returns the store's answers as events.
//!
//! At most one request of each kind is under way: one claim or comparison of leases, one batch of
//! outcomes, one heartbeat. Outcomes and returned tasks that come up meanwhile wait for the next batch;
//! there are never more of them than calls at the workers. While short calls queue up in the store, a few
//! outcomes wait for each other: a batch costs the store as much as several of them do.
//!
//! What waits for a bucket is apart from all this, each call by itself: arguments that are read there, and large results.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use belljar_core::id::{DispatcherId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::labels::Labels;
use belljar_core::live::LiveUpdate;
use belljar_core::outcome::{CallVerdict, Outcome, Report};
use belljar_core::task::TaskAttempt;
use belljar_store::record::{ClaimedTask, Completion, Demand, HeartbeatReport, Requeued};
use belljar_store::{Store, StoreError, StoreEvent};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event::{NO_WORKER, SchedulerAction, SchedulerEvent};
use crate::freed_capacity::FreedCapacity;
use crate::functions::Functions;
use crate::retry;
use crate::transport::Transport;

/// The interval of heartbeats, a third of the store's timeout or less.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a claim that failed.
const CLAIM_PAUSE: Duration = Duration::from_millis(100);
/// While calls queue up, so many outcomes are recorded together.
const RECORDED_TOGETHER: usize = 16;
/// Or those of this time, if they are fewer.
const RECORDING_DELAY: Duration = Duration::from_millis(1);
/// Calls queue up where a claim gets all that it asks for, and asks for so many: workers take ahead only what is short.
const LARGE_CLAIM: usize = 8;

/// How many updates of running calls wait for those before them; the oldest are dropped for others.
const LIVE_UPDATES: usize = 256;

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Request<T> = Option<Pending<T>>;

pub(crate) struct StoreClient {
    id: DispatcherId,
    store: Store,
    host: String,
    functions: Functions,
    /// The claim, or the comparison of leases.
    claim: Request<(SchedulerEvent, Vec<Completion>)>,
    /// Delivered tasks whose code is being read.
    deliveries: FuturesUnordered<Pending<(SchedulerEvent, Vec<Completion>)>>,
    recording: Request<Vec<TaskAttempt>>,
    /// Outcomes whose recording waits for a bucket.
    recording_apart: FuturesUnordered<Pending<Vec<TaskAttempt>>>,
    /// Whether one of these has freed a place of which the store is not told with it.
    is_place_untold: bool,
    /// Arguments that are being read from a bucket.
    reads: FuturesUnordered<Pending<(TaskAttempt, SchedulerEvent)>>,
    /// Of which attempts, and what stops that.
    reading: HashMap<TaskAttempt, CancellationToken>,
    heartbeat: Request<Result<HeartbeatReport, StoreError>>,
    publishing: Request<()>,
    next_heartbeat: Instant,
    /// The labels that functions ask for, as the last heartbeat told.
    labels: Vec<Labels>,
    /// How many tasks the claim asks for.
    claimed: usize,
    /// Whether the last claim was a large one and got all of it.
    is_queue_long: bool,
    /// Outcomes for the next batch.
    completed: Vec<Completion>,
    /// When they are recorded, however few they are.
    recording_due: Instant,
    /// Returned tasks for the next batch.
    requeued: Vec<Requeued>,
    /// What running calls show of themselves, for the next publication.
    live: VecDeque<LiveUpdate>,
    freed: FreedCapacity,
}

impl StoreClient {
    pub(crate) fn new(id: DispatcherId, store: Store, host: String) -> Self {
        Self {
            id,
            store,
            host,
            functions: Functions::new(),
            claim: None,
            deliveries: FuturesUnordered::new(),
            recording: None,
            recording_apart: FuturesUnordered::new(),
            is_place_untold: false,
            reads: FuturesUnordered::new(),
            reading: HashMap::new(),
            heartbeat: None,
            publishing: None,
            next_heartbeat: Instant::now(),
            labels: Vec::new(),
            claimed: 0,
            is_queue_long: false,
            completed: Vec::new(),
            recording_due: Instant::now(),
            requeued: Vec::new(),
            live: VecDeque::new(),
            freed: FreedCapacity::default(),
        }
    }

    /// Whether there is nothing to record.
    pub(crate) fn is_idle(&self) -> bool {
        let is_batch_empty = self.completed.is_empty() && self.requeued.is_empty();
        let is_recorded = self.recording.is_none() && self.recording_apart.is_empty();
        is_recorded && self.deliveries.is_empty() && is_batch_empty
    }

    /// Begins an action that concerns the store.
    pub(crate) fn apply(&mut self, action: SchedulerAction) {
        let store = self.store.clone();
        let id = self.id;
        match action {
            SchedulerAction::Claim(demand) => {
                self.freed.claimed(&demand);
                self.claimed = demand.iter().map(|demand| demand.count).sum();
                self.claim = Some(Box::pin(claim(store, id, demand, self.functions.clone())));
            }
            SchedulerAction::CompareLeases => {
                self.claim = Some(Box::pin(async move {
                    let held = retry::until_ok("compare leases", || store.leased(id)).await;
                    (SchedulerEvent::Leased(held), Vec::new())
                }));
            }
            SchedulerAction::ReadArgs { worker, task } => self.read_args(worker, task),
            SchedulerAction::Complete(completed) if store.needs_bucket(&completed) => {
                self.is_place_untold = true;
                let recording = record(store, (id, 0), vec![completed], Vec::new());
                self.recording_apart.push(Box::pin(recording));
            }
            SchedulerAction::Complete(completed) => {
                if self.is_queue_long && self.completed.is_empty() {
                    self.recording_due = Instant::now() + RECORDING_DELAY;
                }
                self.completed.push(completed);
            }
            SchedulerAction::CapacityFreed(count) => self.freed.add(count),
            SchedulerAction::Requeue(requeued) => self.requeued.push(requeued),
            SchedulerAction::Publish(updates) => {
                self.live.extend(updates);
                self.live.drain(..self.live.len().saturating_sub(LIVE_UPDATES));
            }
            SchedulerAction::Send { .. }
            | SchedulerAction::Stop { .. }
            | SchedulerAction::Watch { .. } => {}
        }
    }

    /// Reads the arguments of a call, which a worker has a place for.
    fn read_args(&mut self, worker: WorkerId, task: ClaimedTask) {
        let (store, attempt, stop) = (self.store.clone(), task.task(), CancellationToken::new());
        self.reading.insert(attempt, stop.clone());
        self.reads.push(Box::pin(async move {
            let read = retry::until_ok("read arguments", || store.read_args(&task));
            let report = match stop.run_until_cancelled(read).await {
                Some(Ok(args)) => {
                    let invocation = Box::new(Invocation { args, ..task.invocation });
                    return (attempt, SchedulerEvent::ArgsRead { worker, invocation });
                }
                Some(Err(report)) => report,
                None => {
                    let outcome = Outcome::bare(CallVerdict::Cancelled, Duration::ZERO);
                    Report { task: attempt, outcome }
                }
            };
            let reports = vec![report];
            (attempt, SchedulerEvent::Reported { worker: NO_WORKER, reports })
        }));
    }

    /// Gives up reading the arguments of a call that is to stop.
    pub(crate) fn note_stop(&self, action: &SchedulerAction) {
        if let SchedulerAction::Stop { task, .. } = action
            && let Some(stop) = self.reading.get(task)
        {
            stop.cancel();
        }
    }

    /// Handles an event of the store. Some ask for a heartbeat at once.
    pub(crate) fn handle_store_event(&mut self, event: StoreEvent) -> Option<SchedulerEvent> {
        if matches!(event, StoreEvent::Delayed | StoreEvent::Connected) {
            self.send_heartbeat_soon();
        }
        match event {
            StoreEvent::Work => Some(SchedulerEvent::WorkAvailable),
            StoreEvent::Delivered { tasks, is_last } => {
                let (store, functions) = (self.store.clone(), self.functions.clone());
                self.deliveries.push(Box::pin(async move {
                    let (tasks, lost) = functions.attach(&store, tasks).await;
                    (SchedulerEvent::Delivered { tasks, is_last }, lost)
                }));
                Some(SchedulerEvent::DeliveryAnnounced)
            }
            StoreEvent::WatchRequested { task_id, from_start } => {
                Some(SchedulerEvent::WatchRequested { task_id, from_start })
            }
            StoreEvent::Cancel(task_id) => Some(SchedulerEvent::CancelRequested(task_id)),
            StoreEvent::Connected => Some(SchedulerEvent::StoreReconnected),
            StoreEvent::Delayed
            | StoreEvent::DrainRequested(_)
            | StoreEvent::Live(_)
            | StoreEvent::Ended(_)
            | StoreEvent::StatusChanged(..)
            | StoreEvent::FunctionRemoved(_) => None,
        }
    }

    /// Waits for the next answer of the store. Cancel safe.
    pub(crate) async fn answer(&mut self) -> SchedulerEvent {
        loop {
            if std::mem::take(&mut self.is_place_untold) {
                // The next claim tells of it.
                return SchedulerEvent::WorkAvailable;
            }
            self.start_recording();
            self.start_publishing();
            tokio::select! {
                // New tasks first: a slot waits for them, and nothing waits for a recorded outcome.
                biased;
                (event, lost) = answer(&mut self.claim) => {
                    if let SchedulerEvent::Claimed(tasks) = &event {
                        let got = tasks.len() + lost.len();
                        self.is_queue_long = got >= self.claimed && got >= LARGE_CLAIM;
                    }
                    self.completed.extend(lost);
                    return event;
                }
                Some((event, lost)) = self.deliveries.next() => {
                    self.completed.extend(lost);
                    return event;
                }
                // What a call showed at last goes before its end.
                () = answer(&mut self.publishing) => {}
                recorded = answer(&mut self.recording) => {
                    return SchedulerEvent::Recorded(recorded);
                }
                Some(recorded) = self.recording_apart.next() => {
                    return SchedulerEvent::Recorded(recorded);
                }
                Some((task, event)) = self.reads.next() => {
                    self.reading.remove(&task);
                    return event;
                }
                answered = answer(&mut self.heartbeat) => {
                    if let Some(event) = self.handle_heartbeat(answered) {
                        return event;
                    }
                }
                () = tokio::time::sleep_until(self.next_heartbeat), if self.heartbeat.is_none() => {
                    return SchedulerEvent::Tick;
                }
                () = tokio::time::sleep_until(self.recording_due), if self.is_holding_back() => {}
            }
        }
    }

    /// Whether outcomes wait for others to be recorded with them.
    fn is_holding_back(&self) -> bool {
        self.recording.is_none()
            && (1..RECORDED_TOGETHER).contains(&self.completed.len())
            && self.requeued.is_empty()
            && self.is_queue_long
            && Instant::now() < self.recording_due
    }

    /// Gives back what is still leased and unregisters this dispatcher. If the store is away, it notices
    /// the missing heartbeats.
    pub(crate) async fn retire(self) {
        if let Err(error) = self.store.retire(self.id).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot unregister");
        }
    }

    fn start_recording(&mut self) {
        let has_none = self.completed.is_empty() && self.requeued.is_empty();
        if self.recording.is_some() || has_none || self.is_holding_back() {
            return;
        }
        let completed = std::mem::take(&mut self.completed);
        let requeued = std::mem::take(&mut self.requeued);
        let freed = if completed.is_empty() { 0 } else { self.freed.take() };
        let (store, id) = (self.store.clone(), self.id);
        self.recording = Some(Box::pin(record(store, (id, freed), completed, requeued)));
    }

    fn start_publishing(&mut self) {
        if self.publishing.is_some() || self.live.is_empty() {
            return;
        }
        let (store, updates) = (self.store.clone(), Vec::from(std::mem::take(&mut self.live)));
        self.publishing = Some(Box::pin(async move {
            if let Err(error) = store.publish_live(&updates).await {
                // The next update, or the outcome, has what matters.
                tracing::debug!(error = &error as &dyn std::error::Error, "updates are lost");
            }
        }));
    }

    /// Sends the next heartbeat at once: it tells the store the classes that are served.
    pub(crate) fn send_heartbeat_soon(&mut self) {
        self.next_heartbeat = Instant::now();
    }

    /// Sends a heartbeat to the store when it is due.
    pub(crate) fn send_heartbeat_if_due(&mut self, transport: &Transport) {
        if self.heartbeat.is_some() || Instant::now() < self.next_heartbeat {
            return;
        }
        let (store, id) = (self.store.clone(), self.id);
        let (classes, workers) = (transport.served(), transport.workers(id, &self.host));
        self.next_heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
        self.heartbeat =
            Some(Box::pin(async move { store.heartbeat(id, &classes, &workers).await }));
    }

    fn handle_heartbeat(
        &mut self,
        answered: Result<HeartbeatReport, StoreError>,
    ) -> Option<SchedulerEvent> {
        let Ok(beat) = answered else { return None };
        if let Some(due_ms) = beat.next_due_ms {
            let due = Instant::now() + Duration::from_millis(due_ms);
            self.next_heartbeat = self.next_heartbeat.min(due);
        }
        if beat.recovered > 0 {
            tracing::warn!(tasks = beat.recovered, "recovered the tasks of a lost dispatcher");
        }
        if beat.labels != self.labels {
            self.labels.clone_from(&beat.labels);
            return Some(SchedulerEvent::LabelsChanged(beat.labels));
        }
        (beat.recovered > 0).then_some(SchedulerEvent::WorkAvailable)
    }
}

/// Waits for the answer of a request; forever if there is none.
async fn answer<T>(request: &mut Request<T>) -> T {
    let Some(pending) = request else { return std::future::pending().await };
    let answer = pending.await;
    *request = None;
    answer
}

async fn claim(
    store: Store,
    id: DispatcherId,
    demand: Vec<Demand>,
    functions: Functions,
) -> (SchedulerEvent, Vec<Completion>) {
    match store.claim(id, &demand).await {
        Ok(tasks) => {
            let (tasks, lost) = functions.attach(&store, tasks).await;
            (SchedulerEvent::Claimed(tasks), lost)
        }
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "claim failed");
            tokio::time::sleep(CLAIM_PAUSE).await;
            // A comparison finds tasks that the store leased before the answer was lost.
            (SchedulerEvent::ClaimFailed, Vec::new())
        }
    }
}

async fn record(
    store: Store,
    (id, freed): (DispatcherId, usize),
    completed: Vec<Completion>,
    requeued: Vec<Requeued>,
) -> Vec<TaskAttempt> {
    if !completed.is_empty() {
        retry::until_ok("record outcomes", || store.complete(id, freed, &completed)).await;
        fail::fail_point!("stored");
    }
    if !requeued.is_empty() {
        retry::until_ok("requeue tasks", || store.requeue(&requeued)).await;
    }
    let ends = completed.iter().map(|completed| completed.report.task);
    ends.chain(requeued.iter().map(|requeued| requeued.task)).collect()
}
