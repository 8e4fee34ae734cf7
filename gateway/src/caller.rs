//! Who sends a request, and what they may do.
//!
//! Where keys are required, each request to a route that is not public shows one, or comes from a client whose certificate stands for one. A key is looked up by its
//! hash and cached for [`FRESH`]: a change of its record, such as a revocation, takes effect by then. Where
//! they are not, every request is of the default tenant and may do everything, and nothing is looked up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Request;
use belljar_core::api_key::{ApiKeyHash, Scope, Scopes};
use belljar_core::task::{Runtime, TaskClass};
use belljar_core::tenant::Tenant;
use belljar_store::record::{ApiKey, KeyState, Timestamp};
use belljar_store::{Store, StoreError};
use http::{HeaderMap, header};
use quick_cache::sync::Cache;

use crate::client_certificate::ClientCertificate;
use crate::error::ApiError;
use crate::policy::{Account, OpenPermit, Quota, QuotaExceeded, TenantPolicy, Tenants};
use crate::refusal::Refusal;
use crate::share::{self, Share, SharePermit, Shares, Turn};

/// How long what the store says of a key is believed.
pub(crate) const FRESH: Duration = Duration::from_secs(3);
/// How many keys are cached.
const KEYS: usize = 16_384;
/// How many keys that are not taken are cached. Apart, so that made-up ones push no real one out.
const REFUSED: usize = 16_384;

/// Who sends a request. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Arc<Identity>);

#[derive(Debug)]
struct Identity {
    tenant: Tenant,
    scopes: Scopes,
    runtimes: Vec<Runtime>,
    /// The key that was shown, and when it ends; `None` where no keys are in use.
    key: Option<(ApiKeyHash, Option<Timestamp>)>,
    /// What its tenant may do and has open, where that is restricted.
    account: Option<Arc<Account>>,
    /// What its tenant has of what all tenants share; `None` where there is only one.
    share: Option<Arc<Share>>,
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
            share: None,
        }))
    }

    /// Whose functions and tasks this caller sees and makes.
    pub(crate) fn tenant(&self) -> &Tenant {
        &self.0.tenant
    }

    /// Refuses a caller whose key lacks `scope`.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Refusal> {
        if self.0.scopes.allow(scope) { Ok(()) } else { Err(Refusal::Scope(scope)) }
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

    /// Counts something that stays open until the permit is dropped.
    pub(crate) fn open(&self, quota: Quota) -> Result<Option<OpenPermit>, ApiError> {
        let open = self.0.account.as_ref().map(|account| account.open(quota));
        open.transpose().map_err(ApiError::quota)
    }
}

/// What the store said of a key, and when.
#[derive(Clone)]
struct Entry<T> {
    read_at: Instant,
    said: T,
}

impl<T> Entry<T> {
    fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < FRESH
    }
}

/// The keys of a store.
pub(crate) struct Keys {
    taken: Cache<ApiKeyHash, Entry<Caller>>,
    refused: Cache<ApiKeyHash, Entry<Refusal>>,
    tenants: Option<Arc<Tenants>>,
    shares: Shares,
}

impl Keys {
    /// No key is known yet.
    pub(crate) fn new(tenants: Option<Arc<Tenants>>) -> Self {
        Self {
            taken: Cache::new(KEYS),
            refused: Cache::new(REFUSED),
            tenants,
            shares: Shares::default(),
        }
    }

    /// What is known of a key without asking the store.
    pub(crate) fn known(&self, hash: ApiKeyHash) -> Option<Result<Caller, Refusal>> {
        if let Some(known) = self.taken.get(&hash).filter(Entry::is_fresh) {
            return Some(in_time(known.said));
        }
        self.refused.get(&hash).filter(Entry::is_fresh).map(|known| Err(known.said))
    }

    /// Whether the key of a caller who was let in is still taken.
    pub(crate) async fn check(
        &self,
        caller: &Caller,
        store: &Store,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let Some((hash, _)) = caller.0.key else { return Ok(Ok(())) };
        let holder = match self.known(hash) {
            Some(known) => known,
            None => self.look_up(hash, store).await?,
        };
        Ok(holder.map(|_| ()))
    }

    /// What the store says of a key.
    pub(crate) async fn look_up(
        &self,
        hash: ApiKeyHash,
        store: &Store,
    ) -> Result<Result<Caller, Refusal>, StoreError> {
        // Before the question: the answer may be that old when it comes.
        let read_at = Instant::now();
        let said = match store.api_key(hash).await? {
            Some(key) => self.judge(hash, key, now()),
            None => Err(Refusal::Unknown),
        };
        match &said {
            Ok(caller) => {
                self.taken.insert(hash, Entry { read_at, said: caller.clone() });
            }
            Err(refusal) => {
                self.taken.remove(&hash);
                self.refused.insert(hash, Entry { read_at, said: *refusal });
            }
        }
        Ok(said)
    }

    fn judge(&self, hash: ApiKeyHash, key: ApiKey, now: Timestamp) -> Result<Caller, Refusal> {
        match key.state(now) {
            KeyState::Valid => Ok(Caller(Arc::new(Identity {
                account: self.tenants.as_ref().map(|tenants| tenants.account(&key.tenant)),
                share: Some(self.shares.of(&key.tenant)),
                tenant: key.tenant,
                scopes: key.scopes,
                runtimes: key.runtimes,
                key: Some((hash, key.expires_at)),
            }))),
            KeyState::Expired => Err(Refusal::Expired),
            KeyState::Revoked => Err(Refusal::Revoked),
        }
    }
}

/// What a request shows of its sender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShownKey {
    /// The key.
    pub(crate) hash: ApiKeyHash,
    /// Whether a certificate stands for it.
    by_certificate: bool,
}

impl ShownKey {
    /// The key that a request shows, else that of its client's certificate.
    pub(crate) fn of(request: &Request) -> Result<Self, Refusal> {
        match shown(request.headers()) {
            Err(Refusal::Missing) => {
                let certificate = request.extensions().get::<ClientCertificate>();
                let certificate = certificate.ok_or(Refusal::Missing)?;
                Ok(Self { hash: certificate.key(now())?, by_certificate: true })
            }
            shown => Ok(Self { hash: shown?, by_certificate: false }),
        }
    }

    /// A refusal of it, in words that fit what was shown.
    pub(crate) fn refused(self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Unknown if self.by_certificate => Refusal::UnknownCertificate,
            other => other,
        }
    }
}

/// The hash of the key that these headers show.
fn shown(headers: &HeaderMap) -> Result<ApiKeyHash, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).into_iter();
    let Some(value) = values.next() else { return Err(Refusal::Missing) };
    let value = value.as_bytes();
    let (scheme, key) =
        value.split_at(value.iter().position(|&byte| byte == b' ').unwrap_or(value.len()));
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Refusal::Missing);
    }
    let hash = ApiKeyHash::of(key.trim_ascii()).ok_or(Refusal::Malformed)?;
    // Two keys are two answers to the question who sends it.
    if values.next().is_some() { Err(Refusal::Malformed) } else { Ok(hash) }
}

/// The caller, unless the key has ended since it was read.
fn in_time(caller: Caller) -> Result<Caller, Refusal> {
    match caller.0.key {
        Some((_, Some(end))) if end <= now() => Err(Refusal::Expired),
        _ => Ok(caller),
    }
}

fn now() -> Timestamp {
    Timestamp::before_now(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use belljar_core::api_key::ApiKeySecret;
    use http::HeaderValue;

    use super::*;

    fn of(values: &[&str]) -> Result<ApiKeyHash, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).expect("a value"));
        }
        shown(&headers)
    }

    #[test]
    fn a_key_is_taken_from_one_bearer_header() {
        let secret = ApiKeySecret::new([5; 25]);
        let key = secret.reveal();
        for scheme in ["Bearer", "bearer", "BEARER"] {
            assert_eq!(of(&[&format!("{scheme} {key}")]), Ok(secret.hash()));
        }
        assert_eq!(of(&[]), Err(Refusal::Missing));
        assert_eq!(of(&["Basic dXNlcjpwYXNz"]), Err(Refusal::Missing));
        for malformed in ["Bearer", "Bearer ", "Bearer x", &format!("Bearer {key}0")] {
            assert_eq!(of(&[malformed]), Err(Refusal::Malformed), "{malformed}");
        }
        let whole = format!("Bearer {key}");
        assert_eq!(of(&[&whole, &whole]), Err(Refusal::Malformed));
        assert_eq!(of(&[key]), Err(Refusal::Missing), "without its scheme");
    }
}
