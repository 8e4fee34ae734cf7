//! What tenants may do, by the operator's file. It wins over what clients ask: what is beyond it is refused.
//!
//! # Layout
//!
//! * here: the policy of one tenant.
//! * `file`: the file, and how tables become policies.
//! * `bounds`: the names of limits and quotas.
//! * `check`: holds requests against a policy.
//! * `quota`: why a request is refused for want of a quota.
//! * `account`: what a tenant has open at this gateway.
//! * `tenants`: the file as it is now, read again when it changes.

mod account;
mod bounds;
mod check;
mod file;
mod quota;
mod tenants;

use belljar_core::task::{Priority, Runtime};
use belljar_core::tenant::{Tenant, Weight};
use serde::Serialize;

pub(crate) use account::{Account, OpenPermit};
pub use bounds::{PolicyLimits, Quota, Quotas};
pub(crate) use check::Violation;
pub use file::{PolicyError, PolicyFile};
pub(crate) use quota::QuotaExceeded;
pub use tenants::Tenants;

/// What one tenant may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantPolicy {
    /// Whose it is.
    pub tenant: Tenant,
    /// Where its functions may run.
    pub runtimes: Vec<Runtime>,
    /// What its functions may ask to reach.
    pub grants: PolicyGrants,
    /// The first of the priorities that its calls may have.
    pub max_priority: Priority,
    /// Its share beside other tenants that have tasks waiting.
    pub weight: Weight,
    /// The largest limits of its functions and calls; `None` where there is none but the deployment's.
    pub limits: PolicyLimits,
    /// How much it may use.
    pub quotas: Quotas,
}

/// What the functions of a tenant may ask to reach; `None` is whatever workers offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyGrants {
    /// Directories.
    pub read: Option<Vec<String>>,
    /// Environment variables.
    pub env: Option<Vec<String>>,
    /// HTTP requests.
    pub http: Option<Vec<String>>,
    /// The largest `/tmp`, in MiB.
    pub scratch_mb: Option<u64>,
}
