//! What tenants use of the store, and how much they may.

use std::time::Duration;

/// How much a tenant may use, as far as the store counts it; `None` is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreQuotas {
    /// Registered functions.
    pub functions: Option<u64>,
    /// Bytes of functions, arguments and results.
    pub stored_bytes: Option<u64>,
}

/// Something of which a tenant may use so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreQuota {
    /// [`StoreQuotas::functions`].
    Functions,
    /// [`StoreQuotas::stored_bytes`].
    StoredBytes,
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

/// What a tenant uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantUsage {
    /// Registered functions.
    pub functions: u64,
    /// Bytes of functions, arguments and results.
    pub stored_bytes: u64,
}
