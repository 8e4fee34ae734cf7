//! Counting.

use belljar_core::task::{Priority, TaskClass};
use belljar_core::tenant::Tenant;
use futures_util::future::try_join_all;

use crate::Store;
use crate::error::StoreError;
use crate::keys::{QUEUE, TURNS};
use crate::layout::{PRIORITY_WIDTH, RETRY_PRIORITY};
use crate::record::{
    Audit, Counts, PeriodUsage, QueueLength, TenantCounts, TenantUsage, Timestamp,
};
use crate::reply::{parse_id, unexpected};
use crate::task_record::priority_number;

/// So many tenants' queues of a class are asked for their oldest task, those whose turn comes next.
const MOST_QUEUES: usize = 100;

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

    /// What tenants have: at most `most` of them, those of which most tasks were accepted.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn tenant_counts(&self, most: u64) -> Result<Vec<TenantCounts>, StoreError> {
        let mut call = self.inner.scripts.tenants.call(1, 8);
        let rows: Vec<(String, u64, u64, u64)> = call.number(most).run(self).await?;
        let counts = rows.into_iter().map(|(mark, accepted, queued, running)| {
            let tenant = Tenant::of_mark(&mark).ok_or_else(|| unexpected("tenants"))?;
            Ok(TenantCounts { tenant, accepted, queued, running })
        });
        counts.collect()
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

    /// Since when the task of a class waits that waits longest: since it was accepted, or its delay ended. `None` where none
    /// waits. Costs the same however long the queues are.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn oldest_queued(&self, class: TaskClass) -> Result<Option<Timestamp>, StoreError> {
        let keys = &self.inner.keys;
        let mut command = redis::cmd("ZRANGE");
        command.arg(format!("{}{class}", keys.key(TURNS))).arg(0).arg(MOST_QUEUES - 1);
        let queues: Vec<String> = self.ask("oldest_queued", &command).await?;
        // Within a priority the first is the oldest; a lower one may have an older one.
        let first = async |queue: &str, priority: u64| {
            let mut command = redis::cmd("ZRANGE");
            command.arg(format!("{}{queue}", keys.key(QUEUE)));
            command.arg(priority * PRIORITY_WIDTH).arg((priority + 1) * PRIORITY_WIDTH);
            command.arg("BYSCORE").arg("LIMIT").arg(0).arg(1);
            self.ask::<Vec<String>>("oldest_queued", &command).await
        };
        let priorities = Priority::ALL.map(priority_number);
        let priorities = [RETRY_PRIORITY].into_iter().chain(priorities);
        let places = queues.iter().flat_map(|queue| priorities.clone().map(move |it| (queue, it)));
        let firsts = places.map(|(queue, priority)| first(queue, priority));
        let ids = try_join_all(firsts).await?.into_iter().flatten();
        let ids = ids.map(|id| parse_id(&id)).collect::<Result<Vec<_>, _>>()?;
        let tasks = self.summaries(&ids).await?.into_iter();
        Ok(tasks.map(|task| task.due_at.unwrap_or(task.accepted_at)).min())
    }
}
