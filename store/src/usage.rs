//! What tenants use of the store, and how much they may.

use std::time::Duration;

/// How much a tenant may use, as far as the store counts it; `None` is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreQuotas {
    /// Registered functions.
    pub functions: Option<u64>,
    /// Sessions.
    pub sessions: Option<u64>,
    /// Bytes of functions, arguments and results.
    pub stored_bytes: Option<u64>,
    /// Tasks that wait, also for their delay.
    pub queued_tasks: Option<u64>,
    /// Tasks that run at once; others wait.
    pub running_tasks: Option<u64>,
    /// What calls may use in an hour of the clock.
    pub hour: PeriodQuotas,
    /// What calls may use in a day of the clock, in UTC.
    pub day: PeriodQuotas,
}

/// What calls may use in some time. Once it is used up no more are accepted; those that were accepted run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeriodQuotas {
    /// Processor time in microseconds.
    pub cpu_us: Option<u64>,
    /// Memory for as long as calls take, in MiB times milliseconds.
    pub memory_mb_ms: Option<u64>,
}

impl StoreQuotas {
    /// The quotas that submissions are held against, as `usage.lua` reads them.
    pub(crate) fn for_submission(&self) -> String {
        let Self { stored_bytes, queued_tasks, hour, day, .. } = self;
        let all = [
            queued_tasks,
            stored_bytes,
            &hour.cpu_us,
            &hour.memory_mb_ms,
            &day.cpu_us,
            &day.memory_mb_ms,
        ];
        let words = all.map(|most| most.map_or_else(|| "-".to_owned(), |most| most.to_string()));
        words.join(" ")
    }

    /// The quota that the scripts call so, and how much it allows.
    pub(crate) fn named(&self, name: &str) -> Option<(StoreQuota, u64)> {
        let (quota, limit) = match name {
            "functions" => (StoreQuota::Functions, self.functions),
            "bytes" => (StoreQuota::StoredBytes, self.stored_bytes),
            "queued" => (StoreQuota::QueuedTasks, self.queued_tasks),
            "hour_cpu" => (StoreQuota::CpuPerHour, self.hour.cpu_us),
            "hour_memory" => (StoreQuota::MemoryPerHour, self.hour.memory_mb_ms),
            "day_cpu" => (StoreQuota::CpuPerDay, self.day.cpu_us),
            "day_memory" => (StoreQuota::MemoryPerDay, self.day.memory_mb_ms),
            _ => return None,
        };
        Some((quota, limit.unwrap_or_default()))
    }
}

/// Something of which a tenant may use so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreQuota {
    /// [`StoreQuotas::functions`].
    Functions,
    /// [`StoreQuotas::sessions`].
    Sessions,
    /// [`StoreQuotas::stored_bytes`].
    StoredBytes,
    /// [`StoreQuotas::queued_tasks`].
    QueuedTasks,
    /// [`PeriodQuotas::cpu_us`] of [`StoreQuotas::hour`].
    CpuPerHour,
    /// [`PeriodQuotas::memory_mb_ms`] of [`StoreQuotas::hour`].
    MemoryPerHour,
    /// [`PeriodQuotas::cpu_us`] of [`StoreQuotas::day`].
    CpuPerDay,
    /// [`PeriodQuotas::memory_mb_ms`] of [`StoreQuotas::day`].
    MemoryPerDay,
}

/// An operation that would use more than its tenant may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverQuota {
    /// Which quota.
    pub quota: StoreQuota,
    /// How much the tenant uses, in the unit of the quota.
    pub used: u64,
    /// How much it may.
    pub limit: u64,
    /// When it certainly uses less, where that is known.
    pub frees_after: Option<Duration>,
}

/// What a tenant uses. Tasks count that were submitted with quotas, even if these were boundless.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantUsage {
    /// Registered functions.
    pub functions: u64,
    /// Bytes of functions, arguments and results.
    pub stored_bytes: u64,
    /// Tasks that wait or run.
    pub tasks: u64,
    /// Those of them that run.
    pub running: u64,
    /// What calls have used since the hour began.
    pub hour: PeriodUsage,
    /// What calls have used since the day began, in UTC.
    pub day: PeriodUsage,
}

/// What calls have used in some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeriodUsage {
    /// Processor time in microseconds.
    pub cpu_us: u64,
    /// Memory for as long as they took, in MiB times milliseconds.
    pub memory_mb_ms: u64,
}
