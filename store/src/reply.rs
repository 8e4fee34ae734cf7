//! Reading what scripts answer.

use std::vec::IntoIter;

use belljar_core::id::TaskId;
use redis::{ErrorKind, FromRedisValue, RedisError, Value};

use crate::error::StoreError;

/// The next part of an answer.
pub(crate) fn next<T: FromRedisValue>(
    answer: &mut IntoIter<Value>,
    what: &'static str,
) -> Result<T, StoreError> {
    let value = answer.next().ok_or_else(|| unexpected(what))?;
    redis::from_redis_value(value)
        .map_err(|error| StoreError::Unexpected { what, source: error.into() })
}

/// An answer of another form than the script gives.
pub(crate) fn unexpected(what: &'static str) -> StoreError {
    let source = RedisError::from((ErrorKind::UnexpectedReturnType, "another form was expected"));
    StoreError::Unexpected { what, source }
}

/// A task's id as scripts give it.
pub(crate) fn parse_id(text: &str) -> Result<TaskId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt {
        what: "a task id".to_owned(),
        why: format!("`{text}` is no id"),
    })
}
