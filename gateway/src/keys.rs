//! The keys and tokens that are known: what they allow, as the store or the issuer said it.
//!
//! Where keys are required, each request to a route that is not public shows one, or comes from a client whose certificate stands for one. A key is looked up by its
//! hash and cached for [`FRESH`]: a change of its record, such as a revocation, takes effect by then. A token is checked as often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use belljar_core::api_key::ApiKeyHash;
use belljar_core::task::Runtime;
use belljar_store::record::{ApiKey, KeyState, Timestamp};
use belljar_store::{Store, StoreError};
use quick_cache::sync::Cache;

use crate::caller::{Caller, HeldToken, Identity};
use crate::error::ApiError;
use crate::oidc::{IssuerDown, Oidc, OidcConfig, TokenHolder, TokenProblem};
use crate::policy::Tenants;
use crate::refusal::Refusal;
use crate::share::Shares;

/// How long what the store says of a key is believed.
pub(crate) const FRESH: Duration = Duration::from_secs(3);
/// How many keys are cached.
const KEYS: usize = 16_384;
/// How many keys that are not taken are cached. Apart, so that made-up ones push no real one out.
const REFUSED: usize = 16_384;

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

/// The keys of a store, and the tokens of an issuer.
pub(crate) struct Keys {
    taken: Cache<ApiKeyHash, Entry<Caller>>,
    refused: Cache<ApiKeyHash, Entry<Refusal>>,
    tenants: Option<Arc<Tenants>>,
    shares: Shares,
    /// Where tokens are taken.
    oidc: Option<Oidc>,
}

impl Keys {
    /// No key is known yet.
    pub(crate) fn new(tenants: Option<Arc<Tenants>>, oidc: Option<OidcConfig>) -> Self {
        Self {
            oidc: oidc.map(Oidc::new),
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

    /// Whether tokens are taken beside keys.
    pub(crate) const fn take_tokens(&self) -> bool {
        self.oidc.is_some()
    }

    /// Whether the key or token of a caller who was let in is still taken.
    pub(crate) async fn check(
        &self,
        caller: &Caller,
        store: &Store,
    ) -> Result<Result<(), Refusal>, ApiError> {
        let Some((hash, _)) = caller.key() else { return Ok(Ok(())) };
        let holder = match (self.known(hash), caller.token()) {
            (Some(known), _) => known,
            (None, Some(token)) => self.read_token(hash, &token.text).await?,
            (None, None) => self.look_up(hash, store).await?,
        };
        Ok(holder.map(|_| ()))
    }

    /// What the issuer says of a token.
    pub(crate) async fn read_token(
        &self,
        hash: ApiKeyHash,
        token: &str,
    ) -> Result<Result<Caller, Refusal>, ApiError> {
        let Some(oidc) = &self.oidc else { return Ok(Err(Refusal::Malformed)) };
        let read_at = Instant::now();
        let said = oidc.read(token).await.map_err(|IssuerDown| ApiError::IssuerDown)?;
        let said = said.map_err(Refusal::from).map(|holder| {
            let TokenHolder { tenant, scopes, ends, subject } = holder;
            Caller::new(Identity {
                account: self.tenants.as_ref().map(|tenants| tenants.account(&tenant)),
                share: Some(self.shares.of(&tenant)),
                tenant,
                scopes,
                runtimes: Runtime::ALL.to_vec(),
                key: Some((hash, Some(ends))),
                token: Some(HeldToken { text: token.into(), subject }),
            })
        });
        self.remember(hash, read_at, &said);
        Ok(said)
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
        self.remember(hash, read_at, &said);
        Ok(said)
    }

    fn remember(&self, hash: ApiKeyHash, read_at: Instant, said: &Result<Caller, Refusal>) {
        match said {
            Ok(caller) => {
                self.taken.insert(hash, Entry { read_at, said: caller.clone() });
            }
            Err(refusal) => {
                self.taken.remove(&hash);
                self.refused.insert(hash, Entry { read_at, said: *refusal });
            }
        }
    }

    fn judge(&self, hash: ApiKeyHash, key: ApiKey, now: Timestamp) -> Result<Caller, Refusal> {
        match key.state(now) {
            KeyState::Valid => Ok(Caller::new(Identity {
                account: self.tenants.as_ref().map(|tenants| tenants.account(&key.tenant)),
                share: Some(self.shares.of(&key.tenant)),
                tenant: key.tenant,
                scopes: key.scopes,
                runtimes: key.runtimes,
                key: Some((hash, key.expires_at)),
                token: None,
            })),
            KeyState::Expired => Err(Refusal::Expired),
            KeyState::Revoked => Err(Refusal::Revoked),
        }
    }
}

/// The caller, unless the key has ended since it was read.
fn in_time(caller: Caller) -> Result<Caller, Refusal> {
    match caller.key() {
        Some((_, Some(end))) if end <= now() => Err(match caller.token() {
            None => Refusal::Expired,
            Some(_) => Refusal::Token(TokenProblem::Expired),
        }),
        _ => Ok(caller),
    }
}

/// The time by the clock of this machine.
pub(crate) fn now() -> Timestamp {
    Timestamp::before_now(Duration::ZERO)
}
