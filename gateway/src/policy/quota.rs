//! Why a request is refused for want of a quota.

use std::time::Duration;

use belljar_core::tenant::Tenant;
use belljar_store::record::{OverQuota, PeriodQuotas, StoreQuota, StoreQuotas};

use super::bounds::{Quota, Quotas};

/// When another try makes sense where nothing else is known.
const SOON: Duration = Duration::from_secs(1);

/// The units in which the store counts.
const MIB: u64 = 1 << 20;
const SECOND_US: u64 = 1_000_000;
const SECOND_MS: u64 = 1_000;

/// A request that would use more than its tenant may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", sentence(self))]
pub(crate) struct QuotaExceeded {
    /// Whose quota it is.
    pub(crate) tenant: Tenant,
    /// Which.
    pub(crate) quota: Quota,
    /// How much the tenant uses, in the unit of the quota.
    pub(crate) used: u64,
    /// How much it allows.
    pub(crate) limit: u64,
    /// After how long another try makes sense.
    pub(crate) retry_after: Duration,
}

impl QuotaExceeded {
    /// A quota that the store counts.
    pub(crate) fn of_store(tenant: Tenant, over: OverQuota) -> Self {
        let (quota, unit) = match over.quota {
            StoreQuota::Functions => (Quota::Functions, 1),
            StoreQuota::Sessions => (Quota::Sessions, 1),
            StoreQuota::StoredBytes => (Quota::Stored, MIB),
            StoreQuota::QueuedTasks => (Quota::QueuedTasks, 1),
            StoreQuota::CpuPerHour => (Quota::CpuPerHour, SECOND_US),
            StoreQuota::CpuPerDay => (Quota::CpuPerDay, SECOND_US),
            StoreQuota::MemoryPerHour => (Quota::MemoryPerHour, SECOND_MS),
            StoreQuota::MemoryPerDay => (Quota::MemoryPerDay, SECOND_MS),
        };
        let retry_after = over.frees_after.unwrap_or(SOON);
        Self { tenant, quota, used: over.used / unit, limit: over.limit / unit, retry_after }
    }
}

impl Quotas {
    /// Those that the store counts.
    pub(crate) fn of_store(&self) -> StoreQuotas {
        let times = |most: Option<u64>, unit| most.map(|most| most.saturating_mul(unit));
        let period = |cpu_s, memory_mb_s| PeriodQuotas {
            cpu_us: times(cpu_s, SECOND_US),
            memory_mb_ms: times(memory_mb_s, SECOND_MS),
        };
        StoreQuotas {
            functions: self.functions,
            sessions: self.sessions,
            stored_bytes: times(self.stored_mb, MIB),
            queued_tasks: self.queued_tasks,
            running_tasks: self.running_tasks,
            hour: period(self.cpu_s_per_hour, self.memory_mb_s_per_hour),
            day: period(self.cpu_s_per_day, self.memory_mb_s_per_day),
        }
    }
}

const fn period(quota: Quota) -> &'static str {
    match quota {
        Quota::CpuPerDay | Quota::MemoryPerDay => "day",
        _ => "hour",
    }
}

fn sentence(exceeded: &QuotaExceeded) -> String {
    let QuotaExceeded { tenant, quota, used, limit, .. } = exceeded;
    let (has, way_out) = match quota {
        Quota::Requests | Quota::Burst => (
            "sends requests faster than it may".to_owned(),
            "send fewer, such as many calls in one POST /v1/tasks",
        ),
        Quota::LongPolls => (
            format!("has {used} requests open that wait for tasks"),
            "wait for many tasks in one POST /v1/results",
        ),
        Quota::OpenRequests => {
            (format!("has {used} requests open"), "wait for their answers before sending more")
        }
        Quota::WaitedTasks => (
            format!("has requests open that wait for {used} tasks"),
            "wait for those that end first in one POST /v1/results",
        ),
        Quota::EventStreams => {
            (format!("has {used} event streams open"), "close one, or read all events over one")
        }
        Quota::Functions => {
            (format!("has {used} functions"), "delete some with DELETE /v1/functions/{id}")
        }
        Quota::Sessions => {
            (format!("has {used} sessions"), "delete some with DELETE /v1/sessions/{id}")
        }
        Quota::QueuedTasks => (
            format!("has {used} tasks waiting"),
            "submit again when some have begun, or cancel some",
        ),
        Quota::RunningTasks => (format!("runs {used} tasks"), "wait until some have ended"),
        Quota::CpuPerHour | Quota::CpuPerDay => (
            format!("has used {used} seconds of processors in this {}", period(*quota)),
            "wait for the next one; what was accepted goes on",
        ),
        Quota::MemoryPerHour | Quota::MemoryPerDay => (
            format!("has used {used} MiB of memory times seconds in this {}", period(*quota)),
            "wait for the next one; what was accepted goes on",
        ),
        Quota::Stored => (
            format!("has {used} MiB of functions, arguments, results and sessions in the store"),
            "wait until results expire, delete functions with DELETE /v1/functions/{id}",
        ),
    };
    format!(
        "tenant `{tenant}` {has}, and its quota `{}` is {limit}: {way_out}, or ask the operator to raise it",
        quota.as_str()
    )
}
