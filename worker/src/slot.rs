//! A slot: runs one job after the other, on an instance of its own for each class that it was asked for,
//! and reports how they ended.

use std::sync::Arc;
use std::time::Duration;

use belljar_core::invocation::Invocation;
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome, Report};
use belljar_core::requirements::PackageLock;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::backlog::Job;
use crate::error::{NoInstance, StartError};
use crate::event::PoolEvent;
use crate::executor::Instance;
use crate::live::{Live, Watch};
use crate::packages::PackagesError;
use crate::shared::Shared;
use crate::standby::{Standby, reason_of};
use crate::traces::TracedCall;

/// How long an instance for packages stays that no call needs.
const PACKAGES_IDLE: Duration = Duration::from_secs(60);

/// One slot of a pool.
pub(crate) struct PoolSlot {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    /// In the order of the pool's classes.
    pub(crate) instances: Vec<SlotInstance>,
    /// A free slot gets its next job here; closed when the pool stops.
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) events: mpsc::Sender<PoolEvent>,
    /// Whether anybody watches its call.
    pub(crate) watch: Arc<Watch>,
}

impl PoolSlot {
    /// Runs until the pool stops; then ends the slot's instances.
    pub(crate) async fn run(mut self) {
        if let Some(first) = self.instances.first_mut() {
            let cut = self.shared.cut.clone();
            // Where it fails, the first job fails alike and says so.
            let _ = cut.run_until_cancelled(first.warm_up()).await;
        }
        while let Some(job) = self.next_job().await {
            let mut next = Some(job);
            while let Some(job) = next {
                let (event, took) = self.execute(job).await;
                fail::fail_point!("computed");
                next = self.shared.next(self.index, took);
                // A closed channel means that the owner has gone.
                let _ = self.events.send(event).await;
            }
        }
        for instance in self.instances {
            instance.end().await;
        }
    }

    /// Waits for a job. Instances for packages that nobody needed for a while end meanwhile.
    async fn next_job(&mut self) -> Option<Job> {
        if self.instances.iter().any(|instance| instance.with_packages.is_some()) {
            if let Ok(job) = timeout(PACKAGES_IDLE, self.jobs.recv()).await {
                return job;
            }
            for instance in &mut self.instances {
                instance.with_packages = None;
            }
        }
        self.jobs.recv().await
    }

    /// The event in which a job ends, and how long the call took if there was one.
    async fn execute(&mut self, job: Job) -> (PoolEvent, Option<Duration>) {
        let Job { invocation, cancel } = job;
        let Invocation { task, ref spec, .. } = invocation;
        let returned = PoolEvent::Returned(task);
        let index = self.shared.classes.iter().position(|it| it.serves(&spec.class));
        let instance = index.and_then(|index| Some((index, self.instances.get_mut(index)?)));
        let Some((index, instance)) = instance else {
            return (returned, None);
        };
        let live = Live::new(task, &self.watch, &self.events);
        let traced = TracedCall::begin(self.shared.traces.as_ref(), &invocation);
        let ran = instance.run(&invocation, &cancel, &live).await;
        if let Some(update) = live.last() {
            let _ = self.events.send(PoolEvent::Live(Box::new(update))).await;
        }
        let mut outcome = match ran {
            Ok(outcome) => outcome,
            Err(none) => {
                tracing::debug!(task_id = %task.task_id, reason = none.reason, "given back");
                return (returned, None);
            }
        };
        if outcome.verdict == CallVerdict::Cancelled && self.shared.cut.is_cancelled() {
            outcome.verdict = CallVerdict::Failed(worker_stopped());
        }
        if let Some(metrics) = &self.shared.metrics {
            metrics.ended(index, &outcome);
        }
        if let Some(traced) = traced {
            traced.end(self.index, &outcome);
        }
        let took = Duration::from_micros(outcome.elapsed_us);
        (PoolEvent::Finished(Report { task, outcome }), Some(took))
    }
}

/// A slot's instance of one class, and where the next one comes from.
#[derive(Debug)]
pub(crate) struct SlotInstance {
    standby: Standby,
    instance: Option<Box<dyn Instance>>,
    /// The one of the function with packages that was called last.
    with_packages: Option<(PackageLock, Box<dyn Instance>)>,
}

impl SlotInstance {
    /// Takes its first instance when it is first needed.
    pub(crate) const fn new(standby: Standby) -> Self {
        Self { standby, instance: None, with_packages: None }
    }

    /// Takes an instance, where there is none that can run a call.
    async fn warm_up(&mut self) -> Result<(), NoInstance> {
        // One that died while idle is nobody's fault. Dropping it ends what is left of it.
        let usable = self.instance.take().filter(|instance| !instance.is_stale());
        self.instance = Some(match usable {
            Some(usable) => usable,
            None => self.standby.take().await?,
        });
        Ok(())
    }

    /// Runs a call, or says why it did not start.
    async fn run(
        &mut self,
        invocation: &Invocation,
        cancel: &CancellationToken,
        live: &Live<'_>,
    ) -> Result<Outcome, NoInstance> {
        if let Some(packages) = invocation.spec.packages.as_deref() {
            return Ok(Box::pin(self.run_with(packages, invocation, cancel, live)).await);
        }
        loop {
            match cancel.run_until_cancelled(self.warm_up()).await {
                Some(ready) => ready?,
                None => return Ok(Outcome::bare(CallVerdict::Cancelled, Duration::ZERO)),
            }
            let Some(instance) = self.instance.take() else {
                return Err(NoInstance { reason: "the instance is gone".to_owned() });
            };
            let ran = instance.run(invocation, cancel, live).await;
            self.instance = ran.instance;
            if let Some(outcome) = ran.outcome {
                return Ok(outcome);
            }
        }
    }

    /// Runs a call of a function with packages, in an instance that runs no others.
    async fn run_with(
        &mut self,
        packages: &PackageLock,
        invocation: &Invocation,
        cancel: &CancellationToken,
        live: &Live<'_>,
    ) -> Outcome {
        let kept = self.with_packages.take();
        let mut kept = kept.filter(|(of, instance)| of == packages && !instance.is_stale());
        loop {
            let instance = match kept.take() {
                Some((_, instance)) => instance,
                None => {
                    let start = self.standby.executor().start_with(packages);
                    match cancel.run_until_cancelled(start).await {
                        Some(Ok(started)) => started.instance,
                        Some(Err(error)) => {
                            return Outcome::bare(no_packages(&error), Duration::ZERO);
                        }
                        None => return Outcome::bare(CallVerdict::Cancelled, Duration::ZERO),
                    }
                }
            };
            let ran = instance.run(invocation, cancel, live).await;
            self.with_packages = ran.instance.map(|instance| (packages.clone(), instance));
            match ran.outcome {
                Some(outcome) => return outcome,
                None => kept = self.with_packages.take(),
            }
        }
    }

    async fn end(self) {
        let others = self.with_packages.map(|(_, instance)| instance);
        for instance in self.instance.into_iter().chain(others) {
            instance.end().await;
        }
    }
}

/// How a call ends whose packages cannot be had. Another worker may have them, unless it is a matter of what is offered.
fn no_packages(error: &StartError) -> CallVerdict {
    let kind = match error {
        StartError::Packages(PackagesError::NotOffered) => FailureKind::Denied,
        _ => FailureKind::ExecutorDied,
    };
    CallVerdict::Failed(Failure::by_platform(kind, reason_of(error)))
}

/// The failure of a call that a stopping pool cut.
fn worker_stopped() -> Failure {
    let text = "the worker was stopped before the call ended".to_owned();
    Failure::by_platform(FailureKind::WorkerLost, text)
}
