//! Ids in the path, and the query.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams};
use belljar_core::id::{BlobId, FunctionId, SessionId, TaskId, WorkerId};
use belljar_store::record::Timestamp;
use http::request::Parts;

use crate::error::ApiError;
use crate::problem::{Problem, shown};
use crate::values::{self, Wait};

/// The largest and the default page of a list.
const MAX_PAGE: usize = 1_000;
const DEFAULT_PAGE: usize = 100;

/// An id that a path can contain.
pub(crate) trait PathId: FromStr {
    /// Its name in the path.
    const NAME: &'static str;
}

impl PathId for TaskId {
    const NAME: &'static str = "task_id";
}

impl PathId for FunctionId {
    const NAME: &'static str = "function_id";
}

impl PathId for SessionId {
    const NAME: &'static str = "session_id";
}

impl PathId for BlobId {
    const NAME: &'static str = "blob_id";
}

impl PathId for WorkerId {
    const NAME: &'static str = "worker_id";
}

/// The id in the path.
pub(crate) struct InPath<T>(pub(crate) T);

impl<T: PathId, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let loc = ["path", T::NAME];
        let params = RawPathParams::from_request_parts(parts, state).await;
        // A parameter that is not text is no id either.
        let text = params.as_ref().ok().and_then(|params| params.iter().next());
        let id = values::id(text.map_or("", |(_, text)| text)).map(Self);
        id.map_err(|msg| ApiError::invalid(Problem::part("uuid_parsing", loc, msg)))
    }
}

/// The query of a request.
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}

impl Query {
    /// The last value given for `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The names that are given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// All values given for `name`.
    pub(crate) fn each<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values given for `name`, also those joined by commas.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).flat_map(|(_, value)| value.split(','))
    }

    /// `wait`: how long to wait for an end, in seconds.
    pub(crate) fn wait(&self) -> Result<Duration, ApiError> {
        let Some(text) = self.get("wait") else { return Ok(Duration::ZERO) };
        let seconds = text.parse().map_err(|_| {
            let text = shown(text);
            let msg = format!("Input should be a number of seconds from 0 to 60, not `{text}`");
            vec![Problem::here("float_parsing", msg)]
        });
        let wait = seconds.and_then(Wait::new).map(|wait| wait.0);
        let place = |problem: Problem| problem.under("wait").under("query");
        wait.map_err(|wrong| ApiError::Invalid(wrong.into_iter().map(place).collect()))
    }

    /// `cursor` and `limit` of a list; cursors are those for which `is_cursor`.
    pub(crate) fn page(
        &self,
        is_cursor: impl Fn(&str) -> bool,
    ) -> Result<(Option<&str>, usize), ApiError> {
        let limit = self.get("limit").map_or(Some(DEFAULT_PAGE), |text| text.parse().ok());
        let Some(limit) = limit.filter(|limit| (1..=MAX_PAGE).contains(limit)) else {
            let text = shown(self.get("limit").unwrap_or_default());
            let msg = format!("Input should be a number from 1 to {MAX_PAGE}, not `{text}`");
            return Err(invalid("int_parsing", "limit", msg));
        };
        let cursor = self.get("cursor").filter(|cursor| !cursor.is_empty());
        if let Some(other) = cursor.filter(|cursor| !is_cursor(cursor)) {
            return Err(Self::invalid_cursor("cursor", other));
        }
        Ok((cursor, limit))
    }

    /// What is said of a cursor that no answer gave out.
    pub(crate) fn invalid_cursor(name: &'static str, text: &str) -> ApiError {
        let msg = format!("Input should be the `next` of the answer before, not `{}`", shown(text));
        invalid("value_error", name, msg)
    }

    /// An id.
    pub(crate) fn id<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, ApiError> {
        let id = self.get(name).map(values::id).transpose();
        id.map_err(|msg| invalid("uuid_parsing", name, msg))
    }

    /// Ids, repeated or separated by commas.
    pub(crate) fn ids<T: FromStr, C: FromIterator<T>>(
        &self,
        name: &'static str,
    ) -> Result<C, ApiError> {
        let ids: Result<C, String> = self.all(name).map(values::id).collect();
        ids.map_err(|msg| invalid("uuid_parsing", name, msg))
    }

    /// One of some words.
    pub(crate) fn word<T: FromStr<Err: Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, ApiError> {
        let word = self.get(name).map(values::word).transpose();
        word.map_err(|msg| invalid("enum", name, msg))
    }

    /// A time, as `2026-01-02T03:04:05Z`.
    pub(crate) fn time(&self, name: &'static str) -> Result<Option<Timestamp>, ApiError> {
        let time = self.get(name).map(values::time).transpose();
        time.map_err(|msg| invalid("datetime_parsing", name, msg))
    }

    /// Some of some words, repeated or separated by commas.
    pub(crate) fn words<T: FromStr<Err: Display>, C: FromIterator<T>>(
        &self,
        name: &'static str,
    ) -> Result<C, ApiError> {
        let words: Result<C, String> = self.all(name).map(values::word).collect();
        words.map_err(|msg| invalid("enum", name, msg))
    }
}

fn invalid(kind: &'static str, name: &'static str, msg: String) -> ApiError {
    ApiError::invalid(Problem::part(kind, ["query", name], msg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts() {
        let query = Query(vec![("a".into(), "1".into()), ("a".into(), "2,3".into())]);
        assert_eq!(query.get("a"), Some("2,3"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2", "3"]);
    }
}
