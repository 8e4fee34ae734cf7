//! Counting.

use belljar_core::task::TaskClass;
use belljar_core::tenant::Tenant;

use crate::Store;
use crate::error::StoreError;
use crate::record::{Audit, Counts, PeriodUsage, QueueLength, TenantUsage};
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

    /// What a tenant uses.
    pub(crate) async fn usage_of(&self, tenant: &Tenant) -> Result<TenantUsage, StoreError> {
        let mut call = self.inner.scripts.tenant_usage.call(1, 64);
        let numbers: Vec<i64> = call.arg(tenant.mark()).run(self).await?;
        // Tasks of earlier versions were not counted.
        let numbers: Vec<_> =
            numbers.into_iter().map(|it| u64::try_from(it).unwrap_or(0)).collect();
        let &[functions, stored_bytes, tasks, running, ref periods @ ..] = numbers.as_slice()
        else {
            return Err(unexpected("tenant_usage"));
        };
        let &[hour_cpu, hour_memory, day_cpu, day_memory] = periods else {
            return Err(unexpected("tenant_usage"));
        };
        let hour = PeriodUsage { cpu_us: hour_cpu, memory_mb_ms: hour_memory };
        let day = PeriodUsage { cpu_us: day_cpu, memory_mb_ms: day_memory };
        Ok(TenantUsage { functions, stored_bytes, tasks, running, hour, day })
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
