//! Functions: their records and their code.

use belljar_core::id::FunctionId;
use belljar_core::task::CodeHash;
use bytes::Bytes;
use redis::{Cmd, FromRedisValue};

use crate::Store;
use crate::connection::{Repeat, to_store_error};
use crate::error::StoreError;
use crate::record::{FunctionRecord, Page, Timestamp};
use crate::script::REGISTER;

/// How many digits the time in front of a function's record has.
const TIME_DIGITS: usize = 16;

impl Store {
    /// Stores a function and its code; `registered_at` is set here. Equal code is stored once.
    ///
    /// # Errors
    /// Redis cannot be had.
    pub async fn put_function(
        &self,
        record: FunctionRecord,
        code: Bytes,
    ) -> Result<FunctionRecord, StoreError> {
        #[expect(clippy::expect_used, reason = "our own types into memory")]
        let bytes = rmp_serde::to_vec_named(&record).expect("records are serializable");
        let mut call = REGISTER.call(4, bytes.len() + code.len() + 128);
        call.arg(record.id.to_string()).arg(bytes).arg(record.code.to_string()).arg(code);
        read_function(record.id, &call.run::<Bytes>(self).await?)
    }

    /// A function's record. Records never change: callers may cache them.
    ///
    /// # Errors
    /// Redis cannot be had.
    pub async fn function(&self, id: FunctionId) -> Result<Option<FunctionRecord>, StoreError> {
        let mut get = redis::cmd("GET");
        get.arg(function_key(&id.to_string()));
        let bytes: Option<Bytes> = self.ask("function", &get).await?;
        bytes.map(|bytes| read_function(id, &bytes)).transpose()
    }

    /// A function's bytes by their hash.
    ///
    /// # Errors
    /// Redis cannot be had.
    pub async fn code(&self, hash: CodeHash) -> Result<Option<Bytes>, StoreError> {
        let mut get = redis::cmd("GET");
        get.arg(format!("belljar:code:{hash}"));
        self.ask("code", &get).await
    }

    /// Functions, newest first.
    ///
    /// # Errors
    /// Redis cannot be had.
    pub async fn functions(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<FunctionRecord>, StoreError> {
        let before = cursor.and_then(|cursor| cursor.parse::<u64>().ok());
        let before = before.map_or_else(|| "+inf".to_owned(), |before| format!("({before}"));
        let mut range = redis::cmd("ZRANGE");
        range.arg("belljar:functions").arg(before).arg("-inf").arg("BYSCORE").arg("REV");
        range.arg("LIMIT").arg(0).arg(limit);
        let ids: Vec<String> = self.ask("functions", &range).await?;
        if ids.is_empty() {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let mut get = redis::cmd("MGET");
        for id in &ids {
            get.arg(function_key(id));
        }
        let records: Vec<Option<Bytes>> = self.ask("functions", &get).await?;
        let mut items = Vec::with_capacity(ids.len());
        for (id, record) in ids.iter().zip(records) {
            if let (Ok(id), Some(record)) = (id.parse(), record) {
                items.push(read_function(id, &record)?);
            }
        }
        let last = items.last().filter(|_| ids.len() == limit);
        Ok(Page { next: last.map(|last| last.registered_at.0.to_string()), items })
    }

    /// A single command that reads.
    pub(crate) async fn ask<T: FromRedisValue>(
        &self,
        what: &'static str,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        let answer = self.link.query(command, None, Repeat::Safe).await;
        answer
            .and_then(|value| Ok(redis::from_redis_value(value)?))
            .map_err(|error| to_store_error(what, error))
    }
}

fn function_key(id: &str) -> String {
    format!("belljar:function:{id}")
}

fn read_function(id: FunctionId, bytes: &[u8]) -> Result<FunctionRecord, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt { what: format!("function {id}"), why };
    let (time, record) =
        bytes.split_at_checked(TIME_DIGITS).ok_or_else(|| corrupt("it is cut".to_owned()))?;
    let time = std::str::from_utf8(time).ok().and_then(|time| time.parse().ok());
    let time = time.ok_or_else(|| corrupt("its time is no number".to_owned()))?;
    let record: FunctionRecord =
        rmp_serde::from_slice(record).map_err(|error| corrupt(error.to_string()))?;
    Ok(FunctionRecord { registered_at: Timestamp(time), ..record })
}
