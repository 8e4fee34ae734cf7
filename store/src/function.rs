//! Functions: their records and their code.

use belljar_core::id::FunctionId;
use belljar_core::task::CodeHash;
use belljar_core::tenant::Tenant;
use bytes::Bytes;
use redis::{Cmd, FromRedisValue};

use crate::Store;
use crate::connection::{Repeat, to_store_error};
use crate::error::StoreError;
use crate::keys::{FUNCTIONS, FUNCTIONS_OF};
use crate::layout::TIME_DIGITS;
use crate::record::{FunctionRecord, Page, Timestamp, UnreadableRecord};

impl Store {
    /// Stores a function and its code; `registered_at` is set here. Equal code is stored once.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn put_function(
        &self,
        record: FunctionRecord,
        code: Bytes,
    ) -> Result<FunctionRecord, StoreError> {
        #[expect(clippy::expect_used, reason = "our own types into memory")]
        let bytes = rmp_serde::to_vec_named(&record).expect("records are serializable");
        let mut call = self.inner.scripts.register.call(5, bytes.len() + code.len() + 128);
        call.arg(record.id.to_string()).arg(bytes).arg(record.code.to_string()).arg(code);
        call.arg(record.tenant.mark());
        read_function(record.id, &call.run::<Bytes>(self).await?)
    }

    /// A function's record. Records never change: callers may cache them.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn function(&self, id: FunctionId) -> Result<Option<FunctionRecord>, StoreError> {
        let mut get = redis::cmd("GET");
        get.arg(self.inner.keys.function(id));
        let bytes: Option<Bytes> = self.ask("function", &get).await?;
        bytes.map(|bytes| read_function(id, &bytes)).transpose()
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

    /// Functions of a tenant, newest first.
    pub(crate) async fn functions_of(
        &self,
        tenant: &Tenant,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<Result<FunctionRecord, UnreadableRecord>>, StoreError> {
        let before = cursor.and_then(|cursor| cursor.parse::<u64>().ok());
        let before = before.map_or_else(|| "+inf".to_owned(), |before| format!("({before}"));
        let mut range = redis::cmd("ZRANGE");
        let list = match tenant.is_default() {
            true => FUNCTIONS.to_owned(),
            false => format!("{FUNCTIONS_OF}{tenant}"),
        };
        range.arg(self.inner.keys.key(&list)).arg(before).arg("-inf").arg("BYSCORE").arg("REV");
        range.arg("LIMIT").arg(0).arg(limit);
        let ids: Vec<String> = self.ask("functions", &range).await?;
        let is_full = ids.len() == limit;
        let ids: Vec<FunctionId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        if ids.is_empty() {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let mut get = redis::cmd("MGET");
        for id in &ids {
            get.arg(self.inner.keys.function(*id));
        }
        let records: Vec<Option<Bytes>> = self.ask("functions", &get).await?;
        let mut items = Vec::with_capacity(ids.len());
        let mut last = None;
        for (id, record) in ids.iter().zip(records) {
            if let Some(record) = record {
                last = read_time(&record).or(last);
                let read = read_function(*id, &record);
                items.push(read.map_err(|error| UnreadableRecord::new(id, &error)));
            }
        }
        let next = last.filter(|_| is_full).map(|last| last.to_string());
        Ok(Page { next, items })
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
