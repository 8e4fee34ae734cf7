//! The life of dispatchers: heartbeats, recovery of the leases of vanished ones, leaving.

use belljar_core::guest::GuestModules;
use belljar_core::id::{DispatcherId, WorkerId};
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome};
use belljar_core::task::TaskClass;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::config::MAX_ATTEMPTS;
use crate::error::StoreError;
use crate::keys::TOPIC_DRAIN;
use crate::kind;
use crate::record::{HeartbeatReport, WorkerRecord};
use crate::task_record;

/// How many tasks one script call takes back or queues: a bound on how long others wait for it.
const MOVED_AT_ONCE: u64 = 1000;

/// What a dispatcher can run.
#[derive(Debug, Serialize, Deserialize)]
struct Capabilities {
    classes: Vec<TaskClass>,
    guests: Vec<GuestModules>,
    workers: Vec<WorkerRecord>,
}

/// The outcome of a task that lost too many dispatchers.
pub(crate) struct LostTooOften {
    outcome: Vec<u8>,
    result: Bytes,
}

impl LostTooOften {
    pub(crate) fn new() -> Self {
        let text = format!("{MAX_ATTEMPTS} attempts were lost with the dispatchers that made them");
        let failure = Failure::by_platform(FailureKind::WorkerLost, text);
        let outcome = Outcome::bare(CallVerdict::Failed(failure), std::time::Duration::ZERO);
        let kind = kind::of_small(&outcome.verdict.pickle());
        let (_, outcome, result) = task_record::encode_outcome(None, &outcome, kind);
        Self { outcome, result }
    }
}

impl Store {
    /// Shows that the dispatcher lives (for [`crate::DISPATCHER_TTL`]), publishes its workers, queues
    /// due delayed tasks, and queues the tasks of vanished dispatchers and of batches whose gateway vanished. Call it every
    /// second: a dispatcher judges others only once its own heartbeats have had no gap for that long.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn heartbeat(
        &self,
        dispatcher: DispatcherId,
        classes: &[TaskClass],
        workers: &[WorkerRecord],
    ) -> Result<HeartbeatReport, StoreError> {
        let guests = GuestModules::common(workers.iter().flat_map(|worker| worker.guests.clone()));
        let (classes, workers) = (classes.to_vec(), workers.to_vec());
        let capabilities = Capabilities { classes, guests, workers };
        #[expect(clippy::expect_used, reason = "our own types into memory")]
        let capabilities =
            rmp_serde::to_vec_named(&capabilities).expect("capabilities are serializable");
        let mut recovered = 0;
        loop {
            let mut call = self.inner.scripts.heartbeat.call(9, capabilities.len() + 1024);
            call.arg(dispatcher.to_string())
                .arg(&capabilities)
                .number(self.dispatcher_ttl_ms())
                .number(MOVED_AT_ONCE)
                .number(self.result_ttl_ms())
                .arg(&*self.inner.cancelled_outcome)
                .number(MAX_ATTEMPTS)
                .arg(&self.inner.lost_too_often.outcome)
                .arg(&self.inner.lost_too_often.result);
            let (taken, more, due, batches, labels): (usize, u8, i64, Vec<String>, Vec<String>) =
                call.run(self).await?;
            recovered += taken;
            if more == 0 {
                self.unpack_abandoned(&batches).await?;
                // Those that a later version allows belong to functions that this one does not run.
                let mut labels: Vec<_> = labels.iter().filter_map(|it| it.parse().ok()).collect();
                labels.sort_unstable();
                let next_due_ms = u64::try_from(due).ok();
                return Ok(HeartbeatReport { recovered, next_due_ms, labels });
            }
        }
    }

    /// Leaves: the tasks that are still leased to the dispatcher are queued again at once.
    ///
    /// # Errors
    /// Redis does not answer or refuses; what is left is recovered once the dispatcher counts as vanished.
    pub async fn retire(&self, dispatcher: DispatcherId) -> Result<(), StoreError> {
        loop {
            let mut call = self.inner.scripts.retire.call(4, 256);
            call.arg(dispatcher.to_string()).number(MOVED_AT_ONCE).number(self.result_ttl_ms());
            let more: u8 = call.arg(&*self.inner.cancelled_outcome).run(self).await?;
            if more == 0 {
                return Ok(());
            }
        }
    }

    /// Asks the dispatcher of a worker to take it out of service. Said twice, it is the same.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn drain_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(self.inner.keys.channel(TOPIC_DRAIN)).arg(worker.to_string());
        self.ask("drain", &command).await.map(|_: u64| ())
    }

    /// Workers of live dispatchers.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError> {
        Ok(self
            .capabilities()
            .await?
            .into_iter()
            .flat_map(|capabilities| capabilities.workers)
            .collect())
    }

    /// The classes that live dispatchers serve.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn served_classes(&self) -> Result<Vec<TaskClass>, StoreError> {
        let capabilities = self.capabilities().await?;
        let mut classes: Vec<_> =
            capabilities.into_iter().flat_map(|capabilities| capabilities.classes).collect();
        classes.sort_unstable();
        classes.dedup();
        Ok(classes)
    }

    /// The classes that live workers run, with the labels that they have.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn live_classes(&self) -> Result<Vec<TaskClass>, StoreError> {
        let workers = self.workers().await?.into_iter();
        let mut classes: Vec<_> = workers.flat_map(|worker| worker.classes).collect();
        classes.sort_unstable();
        classes.dedup();
        Ok(classes)
    }

    /// What the guests of live dispatchers' workers lack, one entry for each Python.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn guests(&self) -> Result<Vec<GuestModules>, StoreError> {
        let capabilities = self.capabilities().await?;
        Ok(GuestModules::common(capabilities.into_iter().flat_map(|all| all.guests)))
    }

    async fn capabilities(&self) -> Result<Vec<Capabilities>, StoreError> {
        let capabilities: Vec<Bytes> = self
            .inner
            .scripts
            .capabilities
            .call(1, 8)
            .number(self.dispatcher_ttl_ms())
            .run(self)
            .await?;
        // One of another version, or damaged, must not hide the others: they serve what they serve.
        let read = |capabilities: &Bytes| {
            rmp_serde::from_slice(capabilities)
                .inspect_err(|error| tracing::warn!(%error, "capabilities cannot be read"))
                .ok()
        };
        Ok(capabilities.iter().filter_map(read).collect())
    }
}
