//! The keys of an issuer: fetched when they are needed, cached, and fetched again when they have changed.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::Uri;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::fetch::{FetchError, Fetcher};
use super::signatures::ALGORITHMS;

/// How many keys of an issuer are taken.
const MAX_KEYS: usize = 64;

/// How long keys are believed, and how often an issuer is asked.
#[derive(Debug, Clone, Copy)]
pub struct KeyTimes {
    /// After so long keys are fetched again, while the old ones are still taken.
    pub refresh: Duration,
    /// After so long keys that could not be fetched again are not taken any more.
    pub keep: Duration,
    /// Between two requests to the issuer there is at least so much.
    pub pause: Duration,
}

impl Default for KeyTimes {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(600),
            keep: Duration::from_secs(86_400),
            pause: Duration::from_secs(10),
        }
    }
}

/// One key of an issuer.
pub(super) struct IssuerKey {
    id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

/// What an issuer said last.
#[derive(Default, Clone)]
struct Fetched {
    keys: Vec<Arc<IssuerKey>>,
    at: Option<Instant>,
}

/// The last try to fetch.
#[derive(Default)]
struct Attempt {
    at: Option<Instant>,
    has_failed: bool,
}

/// The issuer does not answer, and nothing that it said before helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IssuerDown;

/// The keys of an issuer.
pub(super) struct IssuerKeys {
    issuer: String,
    discovery: Uri,
    times: KeyTimes,
    fetcher: Fetcher,
    fetched: RwLock<Fetched>,
    attempt: Arc<Mutex<Attempt>>,
}

impl IssuerKeys {
    /// Nothing is known yet.
    pub(super) fn new(issuer: String, discovery: Uri, times: KeyTimes) -> Self {
        Self {
            issuer,
            discovery,
            times,
            fetcher: Fetcher::new(),
            fetched: RwLock::default(),
            attempt: Arc::default(),
        }
    }

    /// The key of this id, or where a token names none, the only key. The issuer is asked where it is not known.
    pub(super) async fn find(
        self: &Arc<Self>,
        id: Option<&str>,
    ) -> Result<Option<Arc<IssuerKey>>, IssuerDown> {
        if let Some(key) = self.known(id) {
            if self.is_older_than(self.times.refresh) {
                self.refresh();
            }
            return Ok(Some(key));
        }
        let mut attempt = Arc::clone(&self.attempt).lock_owned().await;
        // Another request may have fetched meanwhile.
        if let Some(key) = self.known(id) {
            return Ok(Some(key));
        }
        if self.may_ask(&attempt) {
            self.fetch(&mut attempt).await;
        }
        match self.known(id) {
            None if attempt.has_failed => Err(IssuerDown),
            found => Ok(found),
        }
    }

    /// Fetches in the background, unless somebody does already or has just done so.
    fn refresh(self: &Arc<Self>) {
        let Ok(mut attempt) = Arc::clone(&self.attempt).try_lock_owned() else { return };
        if self.may_ask(&attempt) {
            let keys = Arc::clone(self);
            tokio::spawn(async move { keys.fetch(&mut attempt).await });
        }
    }

    fn may_ask(&self, attempt: &Attempt) -> bool {
        attempt.at.is_none_or(|at| at.elapsed() >= self.times.pause)
    }

    /// What is known of a key, as long as that is believed.
    fn known(&self, id: Option<&str>) -> Option<Arc<IssuerKey>> {
        if self.is_older_than(self.times.keep) {
            return None;
        }
        let fetched = self.fetched.read().unwrap_or_else(PoisonError::into_inner);
        match (id, fetched.keys.as_slice()) {
            (None, [only]) => Some(Arc::clone(only)),
            (None, _) => None,
            (id, keys) => keys.iter().find(|key| key.id.as_deref() == id).cloned(),
        }
    }

    fn is_older_than(&self, age: Duration) -> bool {
        let fetched = self.fetched.read().unwrap_or_else(PoisonError::into_inner);
        fetched.at.is_none_or(|at| at.elapsed() >= age)
    }

    async fn fetch(&self, attempt: &mut OwnedMutexGuard<Attempt>) {
        let asked_at = Instant::now();
        let keys = self.ask().await;
        let had_failed = attempt.has_failed;
        **attempt = Attempt { at: Some(Instant::now()), has_failed: keys.is_err() };
        match keys {
            Ok(keys) => {
                if had_failed {
                    tracing::info!(
                        issuer = self.issuer,
                        "the keys of the issuer were fetched again"
                    );
                }
                let fetched = Fetched { keys, at: Some(asked_at) };
                *self.fetched.write().unwrap_or_else(PoisonError::into_inner) = fetched;
            }
            Err(error) if !had_failed => {
                let why: &dyn std::error::Error = &error;
                tracing::warn!(
                    why,
                    "the keys of the issuer of tokens cannot be fetched: those from before are used"
                );
            }
            Err(_) => {}
        }
    }

    async fn ask(&self) -> Result<Vec<Arc<IssuerKey>>, FetchError> {
        let discovery: Discovery = self.get(&self.discovery).await?;
        let wrong = |why: String| FetchError::Document { uri: self.discovery.clone(), why };
        if discovery.issuer != self.issuer {
            return Err(wrong(format!("it is of the issuer `{}`", discovery.issuer)));
        }
        let uri: Uri =
            discovery.jwks_uri.parse().map_err(|_| wrong("its `jwks_uri` is no URL".to_owned()))?;
        let set: KeySet = self.get(&uri).await?;
        Ok(set.keys.into_iter().take(MAX_KEYS).filter_map(read_key).map(Arc::new).collect())
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, uri: &Uri) -> Result<T, FetchError> {
        let bytes = self.fetcher.get(uri).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| FetchError::Document { uri: uri.clone(), why: error.to_string() })
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

/// A key that checks signatures by an algorithm that is accepted; the others are for something else.
fn read_key(value: serde_json::Value) -> Option<IssuerKey> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let of_type: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &ALGORITHMS[..6],
        AlgorithmParameters::EllipticCurve(it) if it.curve == EllipticCurve::P256 => {
            &[Algorithm::ES256]
        }
        AlgorithmParameters::EllipticCurve(it) if it.curve == EllipticCurve::P384 => {
            &[Algorithm::ES384]
        }
        AlgorithmParameters::OctetKeyPair(it) if it.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        _ => return None,
    };
    let is_for_signatures = jwk
        .common
        .public_key_use
        .as_ref()
        .is_none_or(|it| *it == PublicKeyUse::Signature)
        && jwk.common.key_operations.as_ref().is_none_or(|it| it.contains(&KeyOperations::Verify));
    let named = jwk.common.key_algorithm.map(|it| it.to_string());
    let is_named = |it: &Algorithm| named.as_ref().is_none_or(|named| *named == format!("{it:?}"));
    let algorithms: Vec<_> = of_type.iter().copied().filter(is_named).collect();
    if !is_for_signatures || algorithms.is_empty() {
        return None;
    }
    Some(IssuerKey { algorithms, key: DecodingKey::from_jwk(&jwk).ok()?, id: jwk.common.key_id })
}
