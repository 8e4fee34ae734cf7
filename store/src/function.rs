//! Functions: their records and their code.

use std::time::Duration;

use belljar_core::id::FunctionId;
use belljar_core::task::CodeHash;
use belljar_core::tenant::Tenant;
use bytes::Bytes;
use redis::{Cmd, FromRedisValue, Value};

use crate::config::{MAX_LABEL_SETS, REMOVED_CODE_TTL};
use crate::connection::{Repeat, to_store_error};
use crate::error::StoreError;
use crate::keys::{FUNCTION, FUNCTION_EXPIRY, FUNCTIONS, FUNCTIONS_OF};
use crate::layout::TIME_DIGITS;
use crate::record::{FunctionRecord, OverQuota, Page, StoreQuotas, Timestamp, UnreadableRecord};
use crate::{Store, millis, reply};

/// How many functions one read takes, and how many are read at most for one page.
const READ_AT_ONCE: usize = 1_000;
const SCANNED_AT_MOST: usize = 5_000;

impl Store {
    /// Stores a function and its code; `registered_at` is set here. Equal code is stored once.
    ///
    /// # Errors
    /// Redis does not answer or refuses, or replicas do not confirm it.
    pub async fn put_function(
        &self,
        record: FunctionRecord,
        code: Bytes,
    ) -> Result<FunctionRecord, StoreError> {
        self.put_function_within(record, code, StoreQuotas::default()).await
    }

    /// The same, for a tenant that has quotas.
    pub(crate) async fn put_function_within(
        &self,
        record: FunctionRecord,
        code: Bytes,
        quotas: StoreQuotas,
    ) -> Result<FunctionRecord, StoreError> {
        #[expect(clippy::expect_used, reason = "our own types into memory")]
        let bytes = rmp_serde::to_vec_named(&record).expect("records are serializable");
        let mut call = self.inner.scripts.register.call(10, bytes.len() + code.len() + 160);
        call.arg(record.id.to_string()).arg(bytes).arg(record.code.to_string()).arg(code);
        call.arg(record.tenant.mark());
        for most in [quotas.functions, quotas.stored_bytes] {
            call.arg(most.map_or_else(String::new, |most| most.to_string()));
        }
        call.arg(record.ttl_s.map_or_else(String::new, |ttl| format!("{ttl}000")));
        call.arg(record.class.labels.as_str()).number(MAX_LABEL_SETS);
        let mut answer = call.run::<Vec<Value>>(self).await?.into_iter();
        let verdict: String = reply::next(&mut answer, "register")?;
        if verdict == "labels" {
            return Err(StoreError::TooManyLabels { limit: MAX_LABEL_SETS });
        }
        let Some((quota, limit)) = quotas.named(&verdict) else {
            let stored = read_function(record.id, &reply::next::<Bytes>(&mut answer, "register")?)?;
            self.confirm(|| self.inner.keys.function(record.id)).await?;
            return Ok(stored);
        };
        let used = reply::next(&mut answer, "register")?;
        Err(StoreError::OverQuota(OverQuota { quota, used, limit, frees_after: None }))
    }

    /// Forgets a function of a tenant.
    pub(crate) async fn remove_function_of(
        &self,
        tenant: &Tenant,
        id: FunctionId,
    ) -> Result<bool, StoreError> {
        let Some(bytes) = self.read_function(id).await? else { return Ok(false) };
        let record = read_function(id, &bytes)?;
        if record.tenant != *tenant {
            return Ok(false);
        }
        let mut call = self.inner.scripts.unregister.call(6, bytes.len() + 192);
        call.arg(id.to_string()).arg(&bytes).arg(record.code.to_string());
        call.number(record.code_bytes).arg(tenant.mark()).number(millis(REMOVED_CODE_TTL));
        // Else somebody was quicker, or this was, and the answer was lost.
        call.run::<u8>(self).await.map(|_| true)
    }

    /// Forgets functions that have expired, at most [`READ_AT_ONCE`]; returns how many.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn remove_expired_functions(&self) -> Result<usize, StoreError> {
        let mut range = redis::cmd("ZRANGE");
        range.arg(self.inner.keys.key(FUNCTION_EXPIRY)).arg("-inf");
        range.arg(Timestamp::before_now(Duration::ZERO).0 / 1_000).arg("BYSCORE");
        range.arg("LIMIT").arg(0).arg(READ_AT_ONCE);
        let ids: Vec<String> = self.ask("expired functions", &range).await?;
        let mut removed = 0;
        for id in ids.iter().filter_map(|id| id.parse().ok()) {
            let Some(bytes) = self.read_function(id).await? else { continue };
            let tenant = read_function(id, &bytes)?.tenant;
            removed += usize::from(self.remove_function_of(&tenant, id).await?);
        }
        Ok(removed)
    }

    /// A function's record. Records never change: callers may cache them, as long as they are not expired.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn function(&self, id: FunctionId) -> Result<Option<FunctionRecord>, StoreError> {
        self.read_function(id).await?.map(|bytes| read_function(id, &bytes)).transpose()
    }

    async fn read_function(&self, id: FunctionId) -> Result<Option<Bytes>, StoreError> {
        let mut get = redis::cmd("GET");
        get.arg(self.inner.keys.function(id));
        self.ask("function", &get).await
    }

    /// A function's bytes by their hash.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn code(&self, hash: CodeHash) -> Result<Option<Bytes>, StoreError> {
        let mut get = redis::cmd("GET");
        get.arg(self.inner.keys.code(hash));
        self.ask("code", &get).await
    }

    /// Functions of a tenant, newest first, perhaps only those of one name.
    pub(crate) async fn functions_of(
        &self,
        tenant: &Tenant,
        name: Option<&str>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<Result<FunctionRecord, UnreadableRecord>>, StoreError> {
        let (mut items, mut before, mut scanned) = (Vec::new(), cursor.map(str::to_owned), 0);
        while scanned < SCANNED_AT_MOST {
            // Of a name there may be few: many are read at once then.
            let wanted = if name.is_some() { READ_AT_ONCE } else { limit.min(READ_AT_ONCE) };
            let rows = self.function_rows(tenant, before.as_deref(), wanted).await?;
            let found = rows.len();
            scanned += found;
            for (place, (id, time, record)) in rows.into_iter().enumerate() {
                let Some(record) = record else { continue };
                match read_function(id, &record) {
                    Ok(function) if function.is_expired() => {}
                    Ok(function) if name.is_none_or(|name| function.name == name) => {
                        items.push(Ok(function));
                    }
                    Err(error) if name.is_none() => {
                        items.push(Err(UnreadableRecord::new(id, &error)))
                    }
                    Ok(_) | Err(_) => {}
                }
                if items.len() == limit {
                    let is_last = place + 1 == found && found < wanted;
                    return Ok(Page { items, next: Some(time).filter(|_| !is_last) });
                }
                before = Some(time);
            }
            if found < wanted {
                return Ok(Page { items, next: None });
            }
        }
        Ok(Page { items, next: before })
    }

    /// The next functions of a tenant's list, each with its time and its record.
    async fn function_rows(
        &self,
        tenant: &Tenant,
        before: Option<&str>,
        wanted: usize,
    ) -> Result<Vec<(FunctionId, String, Option<Bytes>)>, StoreError> {
        let before = before.map_or_else(|| "+inf".to_owned(), |before| format!("({before}"));
        let mut range = redis::cmd("ZRANGE");
        let list = match tenant.is_default() {
            true => FUNCTIONS.to_owned(),
            false => format!("{FUNCTIONS_OF}{tenant}"),
        };
        range.arg(self.inner.keys.key(&list)).arg(before).arg("-inf").arg("BYSCORE").arg("REV");
        range.arg("LIMIT").arg(0).arg(wanted).arg("WITHSCORES");
        let rows: Vec<(String, String)> = self.ask("functions", &range).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = redis::cmd("MGET");
        for (id, _) in &rows {
            get.arg(self.inner.keys.key(&format!("{FUNCTION}{id}")));
        }
        let records: Vec<Option<Bytes>> = self.ask("functions", &get).await?;
        let rows = rows.into_iter().zip(records);
        let rows = rows.map(|((id, time), record)| match id.parse() {
            Ok(id) => Ok((id, time, record)),
            Err(_) => Err(StoreError::Corrupt {
                what: "the list of functions".to_owned(),
                why: format!("`{id}` is no id"),
            }),
        });
        rows.collect()
    }

    /// A single command that reads.
    pub(crate) async fn ask<T: FromRedisValue>(
        &self,
        what: &'static str,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        let answer = self.inner.connection.query(command, None, Repeat::Safe).await;
        let value = answer.map_err(|failed| to_store_error(what, failed.error))?;
        redis::from_redis_value(value).map_err(|error| to_store_error(what, error.into()))
    }
}

fn read_function(id: FunctionId, bytes: &[u8]) -> Result<FunctionRecord, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt { what: format!("function {id}"), why };
    let time = read_time(bytes).ok_or_else(|| corrupt("its time is not a number".to_owned()))?;
    let record: FunctionRecord =
        rmp_serde::from_slice(&bytes[TIME_DIGITS..]).map_err(|error| corrupt(error.to_string()))?;
    Ok(FunctionRecord { registered_at: Timestamp(time), ..record })
}

/// When a function was registered: the digits in front of its record.
fn read_time(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes.get(..TIME_DIGITS)?).ok()?.parse().ok()
}
