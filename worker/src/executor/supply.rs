//! The children of one class that stand by: one is always started ahead, so that a slot whose child
//! was killed goes on without waiting for the next to start.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::child::Child;
use crate::config::ExecutorConfig;
use crate::error::{ExecutorBroken, StartError};
use crate::event::{ExecutorInfo, PoolEvent};

/// Failed starts in a row after which the class is reported down. One may fail for the moment's sake.
const FAILURES_TO_DOWN: u32 = 3;
/// The wait after the first failed start; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Whether children of the class start.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Status {
    Starting,
    Up(ExecutorInfo),
    Down(String),
}

/// A handle to the children that stand by.
#[derive(Debug, Clone)]
pub(crate) struct Supply {
    /// Of one place: the child that stands by.
    children: Arc<Mutex<mpsc::Receiver<Child>>>,
    status: watch::Receiver<Status>,
}

impl Supply {
    /// The handle, and the work of keeping a child ready, which begins once it is known whether `first` has one,
    /// and ends at `stop`.
    pub(crate) fn new(
        config: ExecutorConfig,
        first: Option<Self>,
        events: mpsc::Sender<PoolEvent>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, children) = mpsc::channel(1);
        let (status, watched) = watch::channel(Status::Starting);
        let producer = Producer { config, sender, status, events };
        let supply = Self { children: Arc::new(Mutex::new(children)), status: watched };
        (supply, async move {
            let work = async {
                if let Some(mut first) = first {
                    // Where that has ended, so will this.
                    let _ = first.status.wait_for(|status| *status != Status::Starting).await;
                }
                producer.run().await;
            };
            let _ = stop.run_until_cancelled(work).await;
        })
    }

    /// The next child, as soon as there is one.
    pub(crate) async fn take(&self) -> Result<Child, ExecutorBroken> {
        let gone = || ExecutorBroken { reason: "the pool is stopping".to_owned() };
        let mut status = self.status.clone();
        let down = status.wait_for(|status| matches!(status, Status::Down(_)));
        tokio::select! {
            biased;
            child = async { self.children.lock().await.recv().await } => child.ok_or_else(gone),
            status = down => match status.as_deref() {
                Ok(Status::Down(reason)) => Err(ExecutorBroken { reason: reason.clone() }),
                _ => Err(gone()),
            },
        }
    }

    /// Whether children do not start at present.
    pub(crate) fn is_down(&self) -> bool {
        matches!(*self.status.borrow(), Status::Down(_))
    }

    /// What the last child said of itself.
    pub(crate) fn info(&self) -> Option<ExecutorInfo> {
        match &*self.status.borrow() {
            Status::Up(info) => Some(info.clone()),
            Status::Starting | Status::Down(_) => None,
        }
    }

    /// Ends the child that stands by. After its producer has ended.
    pub(crate) async fn end(&self) {
        while let Some(mut child) = self.children.lock().await.recv().await {
            child.end().await;
        }
    }
}

struct Producer {
    config: ExecutorConfig,
    sender: mpsc::Sender<Child>,
    status: watch::Sender<Status>,
    events: mpsc::Sender<PoolEvent>,
}

impl Producer {
    async fn run(self) {
        let mut failures = 0;
        // First the place, then the child: it is not started before the last one is taken.
        while let Ok(place) = self.sender.reserve().await {
            match Child::start(&self.config).await {
                Ok((child, ready)) => {
                    failures = 0;
                    place.send(child);
                    let (class, python, dill) = (self.config.class, ready.python, ready.dill);
                    self.say(Status::Up(ExecutorInfo { class, python, dill })).await;
                }
                Err(error) => {
                    failures += 1;
                    let reason = reason_of(&error);
                    tracing::debug!(class = %self.config.class, failures, reason, "no child");
                    if failures >= FAILURES_TO_DOWN {
                        self.say(Status::Down(reason)).await;
                    }
                    let pause = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(16));
                    sleep(pause.min(LONGEST_PAUSE)).await;
                }
            }
        }
    }

    /// Sets the status and tells the owner where it changes.
    async fn say(&self, status: Status) {
        let same = |old: &Status| std::mem::discriminant(old) == std::mem::discriminant(&status);
        if same(&self.status.borrow()) {
            return;
        }
        let event = match &status {
            Status::Starting => return,
            Status::Up(info) => PoolEvent::ExecutorUp(info.clone()),
            Status::Down(reason) => {
                let class = self.config.class;
                tracing::error!(%class, reason, "children do not start");
                PoolEvent::ExecutorDown { class, reason: reason.clone() }
            }
        };
        self.status.send_replace(status);
        let _ = self.events.send(event).await;
    }
}

/// An error and its causes in one line.
fn reason_of(error: &StartError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
