//! Who sends a request, and what they may do.
//!
//! Where no keys are required, every request is of the default tenant and may do everything, and nothing is looked up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use belljar_core::api_key::{ApiKeyHash, Scope, Scopes};
use belljar_core::task::{Runtime, TaskClass};
use belljar_core::tenant::Tenant;
use belljar_store::StoreError;
use belljar_store::record::Timestamp;
use tokio::sync::SemaphorePermit;

use crate::error::ApiError;
use crate::policy::{Account, OpenPermit, Quota, QuotaExceeded, TenantPolicy, Tenants};
use crate::refusal::Refusal;
use crate::share::{self, Share, SharePermit, Turn};

/// Who sends a request. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Arc<Identity>);

/// What is known of who sends a request.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) tenant: Tenant,
    pub(crate) scopes: Scopes,
    pub(crate) runtimes: Vec<Runtime>,
    /// The key or token that was shown, and when it ends; `None` where no keys are in use.
    pub(crate) key: Option<(ApiKeyHash, Option<Timestamp>)>,
    /// Of a token, itself.
    pub(crate) token: Option<HeldToken>,
    /// What its tenant may do and has open, where that is restricted.
    pub(crate) account: Option<Arc<Account>>,
    /// What its tenant has of what all tenants share; `None` where there is only one.
    pub(crate) share: Option<Arc<Share>>,
}

/// A token that was taken.
pub(crate) struct HeldToken {
    /// For when it is checked again.
    pub(crate) text: Box<str>,
    /// What its issuer calls the holder.
    pub(crate) subject: Option<String>,
}

impl fmt::Debug for HeldToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldToken").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Caller {
    /// The caller of every request where no keys are in use.
    pub(crate) fn anyone(tenants: Option<&Tenants>) -> Self {
        let tenant = Tenant::default();
        Self(Arc::new(Identity {
            account: tenants.map(|tenants| tenants.account(&tenant)),
            tenant,
            scopes: Scopes::ALL,
            runtimes: Runtime::ALL.to_vec(),
            key: None,
            token: None,
            share: None,
        }))
    }

    /// The caller of whom this is known.
    pub(crate) fn new(identity: Identity) -> Self {
        Self(Arc::new(identity))
    }

    /// The key or token that was shown, and when it ends.
    pub(crate) fn key(&self) -> Option<(ApiKeyHash, Option<Timestamp>)> {
        self.0.key
    }

    /// The token that was shown, if it was one.
    pub(crate) fn token(&self) -> Option<&HeldToken> {
        self.0.token.as_ref()
    }

    /// Whose functions and tasks this caller sees and makes.
    pub(crate) fn tenant(&self) -> &Tenant {
        &self.0.tenant
    }

    /// Refuses a caller whose key lacks `scope`.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Refusal> {
        match (self.0.scopes.allow(scope), &self.0.token) {
            (true, _) => Ok(()),
            (false, None) => Err(Refusal::Scope(scope)),
            (false, Some(_)) => Err(Refusal::TokenScope(scope)),
        }
    }

    /// Refuses a caller whose functions may not run in `runtime`.
    pub(crate) fn require_runtime(&self, runtime: Runtime) -> Result<(), Refusal> {
        if self.0.runtimes.contains(&runtime) { Ok(()) } else { Err(Refusal::Runtime(runtime)) }
    }

    /// The class of functions that name no runtime: the deployment's, or where this caller may not have
    /// that, the other one.
    pub(crate) fn default_class(&self, deployment: TaskClass) -> TaskClass {
        let policy = self.policy();
        let is_allowed = |runtime: &Runtime| {
            self.0.runtimes.contains(runtime)
                && policy.as_ref().is_none_or(|policy| policy.runtimes.contains(runtime))
        };
        let mut allowed = Runtime::ALL.into_iter().filter(is_allowed);
        match (allowed.next(), allowed.next()) {
            (Some(only), None) => TaskClass { runtime: only, ..deployment },
            _ => deployment,
        }
    }

    /// What the operator's file allows its tenant; `None` where there is no such file.
    pub(crate) fn policy(&self) -> Option<Arc<TenantPolicy>> {
        self.0.account.as_ref().map(|account| account.policy())
    }

    /// Counts a request.
    pub(crate) fn take_request(&self) -> Result<(), ApiError> {
        match &self.0.account {
            Some(account) => account.take_request().map_err(ApiError::quota),
            None => Ok(()),
        }
    }

    /// An error of the store, as this caller is told: a quota is that of its tenant.
    pub(crate) fn told(&self, error: StoreError) -> ApiError {
        match error {
            StoreError::OverQuota(over) => {
                ApiError::quota(QuotaExceeded::of_store(self.tenant().clone(), over))
            }
            error => error.into(),
        }
    }

    /// Counts `count` more of what tenants share, of which all together have `all`, unless the operator's file says how much this one
    /// may have.
    pub(crate) fn take_share(
        &self,
        quota: Quota,
        count: usize,
        all: usize,
    ) -> Result<Option<SharePermit>, ApiError> {
        let Some(share) = &self.0.share else { return Ok(None) };
        let own = self.0.account.as_ref().and_then(|account| account.policy().quotas.get(quota));
        let limit = own.unwrap_or(share::of_one(all as u64));
        share.take(quota, count as u64, limit).map(Some).map_err(ApiError::quota)
    }

    /// Waits for the turn of a request about so many tasks or functions, where tenants share.
    pub(crate) async fn turn(&self, items: usize) -> Turn {
        match &self.0.share {
            Some(share) => share.turn(items).await,
            None => None,
        }
    }

    /// Waits for one of its tenant's places in the store, where tenants share.
    pub(crate) async fn place_in_store(&self) -> Option<SemaphorePermit<'_>> {
        match &self.0.share {
            Some(share) => share.place_in_store().await,
            None => None,
        }
    }

    /// Whether other tenants have asked this gateway for something just now.
    pub(crate) fn has_company(&self) -> bool {
        self.0.share.as_ref().is_some_and(|share| share.has_company())
    }

    /// How long to hold the refusal of one open request too many back, where tenants share.
    pub(crate) fn hold_back(&self) -> Option<Duration> {
        self.0.share.as_ref().map(|share| share.hold_back())
    }

    /// Counts something that stays open until the permit is dropped.
    pub(crate) fn open(&self, quota: Quota) -> Result<Option<OpenPermit>, ApiError> {
        let open = self.0.account.as_ref().map(|account| account.open(quota));
        open.transpose().map_err(ApiError::quota)
    }
}
