//! What running tasks show of themselves: from dispatchers to those who watch. Nothing of their output is kept: the worker
//! has the end of it, and tells it again to those who begin to watch.

use belljar_core::id::TaskId;
use belljar_core::live::{LiveUpdate, Progress};
use belljar_core::task::Attempt;
use bytes::Bytes;

use crate::Store;
use crate::error::StoreError;
use crate::keys::TOPIC_WATCH;

/// How many updates one message has, so that no message is long.
const UPDATES_AT_ONCE: usize = 32;

impl Store {
    /// Tells those who watch what running tasks show of themselves, and keeps how far they have come for as long as
    /// results are kept.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn publish_live(&self, updates: &[LiveUpdate]) -> Result<(), StoreError> {
        for part in updates.chunks(UPDATES_AT_ONCE) {
            let message = encode(&part);
            let mut call =
                self.inner.scripts.live.call(2 + 2 * part.len(), message.len() + 256 * part.len());
            call.arg(message).number(self.result_ttl_ms());
            for LiveUpdate { task, progress, .. } in part {
                if let Some(progress) = progress {
                    call.arg(task.task_id.to_string()).arg(encode(&(task.attempt, progress)));
                }
            }
            call.run::<u8>(self).await?;
        }
        Ok(())
    }

    /// Says that somebody watches a task, for [`belljar_core::live::WATCH_TTL`] from now: [`crate::StoreEvent::Live`] then has what it
    /// writes while it runs, and with `from_start` what it has written before.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn watch_task(&self, id: TaskId, from_start: bool) -> Result<(), StoreError> {
        let mut command = redis::cmd("PUBLISH");
        let mark = if from_start { '+' } else { '-' };
        command.arg(self.inner.keys.channel(TOPIC_WATCH)).arg(format!("{mark}{id}"));
        self.ask("watch", &command).await.map(|_: u64| ())
    }
}

/// How far an attempt has come, as it is kept; of another attempt than `attempt`, nothing.
pub(crate) fn read_progress(kept: Option<&Bytes>, attempt: u32) -> Option<Progress> {
    let (of, progress): (Attempt, Progress) = rmp_serde::from_slice(kept?).ok()?;
    (of.0 == attempt).then_some(progress)
}

#[expect(clippy::expect_used, reason = "our own types into memory")]
fn encode(value: &impl serde::Serialize) -> Vec<u8> {
    rmp_serde::to_vec(value).expect("updates are serializable")
}
