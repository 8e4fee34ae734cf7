//! The instance of a class that stands by: one is always started ahead, so that a slot whose instance was
//! used up goes on without waiting for the next start.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::error::{NoInstance, StartError};
use crate::event::{ExecutorInfo, PoolEvent};
use crate::executor::{Executor, Instance, Started};
use crate::metrics::PoolMetrics;

/// Failed starts in a row after which the class is reported down. A single one may be a passing trouble.
const FAILURES_TO_DOWN: u32 = 3;
/// The longest pause between two starts.
const MAX_START_DELAY: Duration = Duration::from_secs(15);
/// The pauses after failed starts.
const START_BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(MAX_START_DELAY)
    .without_max_times();

/// Whether instances of the class start.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Status {
    Starting,
    Up(ExecutorInfo),
    Down(String),
}

/// A handle to the instance that stands by.
#[derive(Debug, Clone)]
pub(crate) struct Standby {
    /// A channel with room for one.
    instances: Arc<Mutex<mpsc::Receiver<Box<dyn Instance>>>>,
    status: watch::Receiver<Status>,
    executor: Arc<dyn Executor>,
}

impl Standby {
    /// The handle, and the work that keeps an instance ready. The work begins once it is known whether
    /// `first` starts, and ends at `stop`.
    pub(crate) fn new(
        executor: Arc<dyn Executor>,
        first: Option<Self>,
        events: mpsc::Sender<PoolEvent>,
        stop: CancellationToken,
        metrics: Option<Arc<PoolMetrics>>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, instances) = mpsc::channel(1);
        let (status, watched) = watch::channel(Status::Starting);
        let instances = Arc::new(Mutex::new(instances));
        let standby = Self { instances, status: watched, executor: Arc::clone(&executor) };
        let starter = Starter { executor, sender, status, events, metrics };
        (standby, async move {
            let work = async {
                if let Some(mut first) = first {
                    // It fails where the first has ended, and then this ends too.
                    let _ = first.status.wait_for(|status| *status != Status::Starting).await;
                }
                starter.run().await;
            };
            let _ = stop.run_until_cancelled(work).await;
        })
    }

    /// The next instance, as soon as there is one.
    pub(crate) async fn take(&self) -> Result<Box<dyn Instance>, NoInstance> {
        let stopping = || NoInstance { reason: "the pool is stopping".to_owned() };
        let mut status = self.status.clone();
        let down = status.wait_for(|status| matches!(status, Status::Down(_)));
        tokio::select! {
            biased;
            next = async { self.instances.lock().await.recv().await } => next.ok_or_else(stopping),
            status = down => match status.as_deref() {
                Ok(Status::Down(reason)) => Err(NoInstance { reason: reason.clone() }),
                _ => Err(stopping()),
            },
        }
    }

    /// What starts the instances.
    pub(crate) fn executor(&self) -> &dyn Executor {
        &*self.executor
    }

    /// Whether instances do not start at present.
    pub(crate) fn is_down(&self) -> bool {
        matches!(*self.status.borrow(), Status::Down(_))
    }

    /// What the first instance reported of itself.
    pub(crate) fn info(&self) -> Option<ExecutorInfo> {
        match &*self.status.borrow() {
            Status::Up(info) => Some(info.clone()),
            Status::Starting | Status::Down(_) => None,
        }
    }

    /// Ends the instance that stands by. To be called after the work has ended.
    pub(crate) async fn end(&self) {
        while let Some(instance) = self.instances.lock().await.recv().await {
            instance.end().await;
        }
    }
}

struct Starter {
    executor: Arc<dyn Executor>,
    sender: mpsc::Sender<Box<dyn Instance>>,
    status: watch::Sender<Status>,
    events: mpsc::Sender<PoolEvent>,
    metrics: Option<Arc<PoolMetrics>>,
}

impl Starter {
    async fn run(self) {
        let (mut failures, mut delays) = (0, START_BACKOFF.build());
        // The permit comes first: an instance is not started before the last one is taken.
        while let Ok(permit) = self.sender.reserve().await {
            let begun = Instant::now();
            let started = self.executor.start().await;
            if let Some(metrics) = &self.metrics {
                let took = started.as_ref().map(|_| begun.elapsed()).map_err(|_| ());
                metrics.started(self.executor.class(), took);
            }
            match started {
                Ok(Started { instance, info }) => {
                    (failures, delays) = (0, START_BACKOFF.build());
                    permit.send(instance);
                    self.set(Status::Up(info)).await;
                }
                Err(error) => {
                    failures += 1;
                    let reason = reason_of(&error);
                    let class = self.executor.class();
                    tracing::debug!(%class, failures, reason, "start failed");
                    if failures >= FAILURES_TO_DOWN {
                        self.set(Status::Down(reason)).await;
                    }
                    sleep(delays.next().unwrap_or(MAX_START_DELAY)).await;
                }
            }
        }
    }

    /// Sets the status, and tells the owner where it changes.
    async fn set(&self, status: Status) {
        let same = |old: &Status| std::mem::discriminant(old) == std::mem::discriminant(&status);
        if same(&self.status.borrow()) {
            return;
        }
        let event = match &status {
            Status::Starting => return,
            Status::Up(info) => PoolEvent::ExecutorUp(info.clone()),
            Status::Down(reason) => {
                let class = self.executor.class();
                tracing::error!(%class, reason, "executors do not start");
                PoolEvent::ExecutorDown { class, reason: reason.clone() }
            }
        };
        self.status.send_replace(status);
        let _ = self.events.send(event).await;
    }
}

/// An error and its causes in one line.
pub(crate) fn reason_of(error: &StartError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
