//! Why a request is refused for want of a quota.

use std::time::Duration;

use belljar_core::tenant::Tenant;
use belljar_store::record::{OverQuota, StoreQuota, StoreQuotas};

use super::bounds::{Quota, Quotas};

/// When another try makes sense where nothing else is known.
const SOON: Duration = Duration::from_secs(1);

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
            StoreQuota::StoredBytes => (Quota::Stored, 1 << 20),
        };
        let retry_after = over.frees_after.unwrap_or(SOON);
        Self { tenant, quota, used: over.used / unit, limit: over.limit / unit, retry_after }
    }
}

impl Quotas {
    /// Those that the store counts.
    pub(crate) fn of_store(&self) -> StoreQuotas {
        StoreQuotas {
            functions: self.functions,
            stored_bytes: self.stored_mb.map(|mib| mib.saturating_mul(1 << 20)),
        }
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
        Quota::EventStreams => {
            (format!("has {used} event streams open"), "close one, or read all events over one")
        }
        Quota::Functions => {
            (format!("has {used} functions"), "delete some with DELETE /v1/functions/{id}")
        }
        Quota::Stored => (
            format!("has {used} MiB of functions, arguments and results in the store"),
            "wait until results expire, delete functions with DELETE /v1/functions/{id}",
        ),
    };
    format!(
        "tenant `{tenant}` {has}, and its quota `{}` is {limit}: {way_out}, or ask the operator to raise it",
        quota.as_str()
    )
}
