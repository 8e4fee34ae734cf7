//! Keys of clients: their records, by the hashes of the keys.

use belljar_core::api_key::ApiKeyHash;
use bytes::Bytes;

use crate::Store;
use crate::error::StoreError;
use crate::keys::API_KEYS;
use crate::record::{ApiKey, KeyState, Timestamp, UnreadableRecord};

impl Store {
    /// The record of a key.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn api_key(&self, hash: ApiKeyHash) -> Result<Option<ApiKey>, StoreError> {
        self.read_api_key(hash).await?.map(|bytes| decode(hash, &bytes)).transpose()
    }

    /// All keys, the newest first; those that cannot be read last.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn api_keys(
        &self,
    ) -> Result<Vec<Result<(ApiKeyHash, ApiKey), UnreadableRecord>>, StoreError> {
        let mut all = redis::cmd("HGETALL");
        all.arg(self.inner.keys.key(API_KEYS));
        let rows: Vec<(String, Bytes)> = self.ask("api_keys", &all).await?;
        let read = |(name, bytes): (String, Bytes)| {
            let hash = name.parse().map_err(|_| corrupt(&name, "its name is no hash"));
            hash.and_then(|hash| Ok((hash, decode(hash, &bytes)?)))
                .map_err(|error| UnreadableRecord::new(name, &error))
        };
        let mut keys: Vec<_> = rows.into_iter().map(read).collect();
        keys.sort_by_cached_key(|row| match row {
            Ok((hash, key)) => (false, std::cmp::Reverse(key.created_at), hash.to_string()),
            Err(row) => (true, std::cmp::Reverse(Timestamp(0)), row.id.clone()),
        });
        Ok(keys)
    }

    /// Stores a new key.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn put_api_key(&self, hash: ApiKeyHash, key: &ApiKey) -> Result<(), StoreError> {
        self.put_api_keys(&[], &[(hash, key)]).await.map(|_| ())
    }

    /// Stores the key of client certificates, in place of one that is not taken any more; whether that was done.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn put_certificate_key(
        &self,
        hash: ApiKeyHash,
        key: &ApiKey,
    ) -> Result<bool, StoreError> {
        let known = self.read_api_key(hash).await?.unwrap_or_default();
        if !known.is_empty() && decode(hash, &known)?.state(key.created_at) == KeyState::Valid {
            return Ok(false);
        }
        self.put_api_keys(&known, &[(hash, key)]).await
    }

    /// Changes the record of a key and stores further new ones with it; `None` for an unknown key.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn change_api_key(
        &self,
        hash: ApiKeyHash,
        change: impl Fn(&mut ApiKey),
        further: &[(ApiKeyHash, &ApiKey)],
    ) -> Result<Option<ApiKey>, StoreError> {
        loop {
            let Some(known) = self.read_api_key(hash).await? else { return Ok(None) };
            let mut key = decode(hash, &known)?;
            change(&mut key);
            let all: Vec<_> =
                std::iter::once((hash, &key)).chain(further.iter().copied()).collect();
            // Else somebody else has changed it meanwhile, or this did, and the answer was lost.
            if encode(&key) == known || self.put_api_keys(&known, &all).await? {
                return Ok(Some(key));
            }
        }
    }

    async fn read_api_key(&self, hash: ApiKeyHash) -> Result<Option<Bytes>, StoreError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.inner.keys.key(API_KEYS)).arg(hash.to_string());
        self.ask("api_key", &get).await
    }

    async fn put_api_keys(
        &self,
        known: &[u8],
        keys: &[(ApiKeyHash, &ApiKey)],
    ) -> Result<bool, StoreError> {
        let mut call = self.inner.scripts.api_key.call(1 + 2 * keys.len(), 512 * keys.len());
        call.arg(known);
        for (hash, key) in keys {
            call.arg(hash.to_string()).arg(encode(key));
        }
        call.run(self).await
    }
}

fn encode(key: &ApiKey) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "our own types into memory")]
    rmp_serde::to_vec_named(key).expect("records are serializable")
}

fn decode(hash: ApiKeyHash, bytes: &[u8]) -> Result<ApiKey, StoreError> {
    rmp_serde::from_slice(bytes).map_err(|error| corrupt(&hash.id(), &error.to_string()))
}

fn corrupt(id: &str, why: &str) -> StoreError {
    StoreError::Corrupt { what: format!("API key {id}"), why: why.to_owned() }
}
