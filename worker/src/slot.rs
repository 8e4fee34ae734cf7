//! A slot: runs one job after the other, on an instance of its own for each class that it was asked for,
//! and reports how they ended.

use std::sync::Arc;
use std::time::Duration;

use belljar_core::invocation::Invocation;
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome, Report};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::backlog::Job;
use crate::error::NoInstance;
use crate::event::PoolEvent;
use crate::executor::Instance;
use crate::shared::Shared;
use crate::standby::Standby;

/// One slot of a pool.
pub(crate) struct PoolSlot {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    /// In the order of the pool's classes.
    pub(crate) instances: Vec<SlotInstance>,
    /// A free slot gets its next job here; closed when the pool stops.
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) events: mpsc::Sender<PoolEvent>,
}

impl PoolSlot {
    /// Runs until the pool stops; then ends the slot's instances.
    pub(crate) async fn run(mut self) {
        if let Some(first) = self.instances.first_mut() {
            let cut = self.shared.cut.clone();
            // Where it fails, the first job fails alike and says so.
            let _ = cut.run_until_cancelled(first.warm_up()).await;
        }
        while let Some(job) = self.jobs.recv().await {
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
        let mut outcome = match instance.run(&invocation, &cancel).await {
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
        let took = Duration::from_micros(outcome.elapsed_us);
        (PoolEvent::Finished(Report { task, outcome }), Some(took))
    }
}

/// A slot's instance of one class, and where the next one comes from.
#[derive(Debug)]
pub(crate) struct SlotInstance {
    standby: Standby,
    instance: Option<Box<dyn Instance>>,
}

impl SlotInstance {
    /// Takes its first instance when it is first needed.
    pub(crate) const fn new(standby: Standby) -> Self {
        Self { standby, instance: None }
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
    ) -> Result<Outcome, NoInstance> {
        loop {
            match cancel.run_until_cancelled(self.warm_up()).await {
                Some(ready) => ready?,
                None => return Ok(Outcome::bare(CallVerdict::Cancelled, Duration::ZERO)),
            }
            let Some(instance) = self.instance.take() else {
                return Err(NoInstance { reason: "the instance is gone".to_owned() });
            };
            let ran = instance.run(invocation, cancel).await;
            self.instance = ran.instance;
            if let Some(outcome) = ran.outcome {
                return Ok(outcome);
            }
        }
    }

    async fn end(self) {
        if let Some(instance) = self.instance {
            instance.end().await;
        }
    }
}

/// The failure of a call that a stopping pool cut.
fn worker_stopped() -> Failure {
    let text = "the worker was stopped before the call ended".to_owned();
    Failure::by_platform(FailureKind::WorkerLost, text)
}
