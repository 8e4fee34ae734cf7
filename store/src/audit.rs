//! Counting.

use belljar_core::task::TaskClass;

use crate::Store;
use crate::error::StoreError;
use crate::record::{Audit, Counts, QueueLength};
use crate::reply::unexpected;

impl Store {
    /// The counters, the queues and whether they agree, all of one moment.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn audit(&self) -> Result<Audit, StoreError> {
        let numbers: Vec<u64> = self.inner.scripts.audit.call(0, 0).run(self).await?;
        let &[accepted, queued, delayed, running, completed, failed, cancelled, q, d, r] =
            numbers.as_slice()
        else {
            return Err(unexpected("audit"));
        };
        Ok(Audit {
            counts: Counts { accepted, queued, delayed, running, completed, failed, cancelled },
            entries_queued: q,
            entries_running: r,
            entries_delayed: d,
        })
    }

    /// The length of every queue.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn queue_lengths(&self) -> Result<Vec<QueueLength>, StoreError> {
        let rows: Vec<(String, u64)> = self.inner.scripts.queues.call(0, 0).run(self).await?;
        let lengths = rows.into_iter().map(|(class, queued)| {
            let class: TaskClass = class.parse().map_err(|_| StoreError::Corrupt {
                what: "the set of classes".to_owned(),
                why: format!("`{class}` is no class"),
            })?;
            Ok(QueueLength { class, queued })
        });
        lengths.collect()
    }
}
