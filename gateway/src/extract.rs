//! The parts of a request beside its body: ids in the path, and the query.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams};
use belljar_core::id::{FunctionId, TaskId};
use http::request::Parts;

use crate::error::ApiError;
use crate::validate::Problem;

/// The longest that a request may wait.
pub(crate) const MAX_WAIT_SECONDS: f64 = 60.0;
/// The largest and the default page of a list.
const MAX_PAGE: usize = 1_000;
const DEFAULT_PAGE: usize = 100;

/// A kind of id that stands in paths.
pub(crate) trait PathId: FromStr {
    /// What the path calls it.
    const NAME: &'static str;
}

impl PathId for TaskId {
    const NAME: &'static str = "task_id";
}

impl PathId for FunctionId {
    const NAME: &'static str = "function_id";
}

/// The id in the path.
pub(crate) struct InPath<T>(pub(crate) T);

impl<T: PathId, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let loc = ["path", T::NAME];
        let malformed = || ApiError::invalid(Problem::part("uuid_parsing", loc, not_a_uuid("")));
        let params =
            RawPathParams::from_request_parts(parts, state).await.map_err(|_| malformed())?;
        let text = params.iter().next().map_or("", |(_, text)| text);
        text.parse()
            .map(Self)
            .map_err(|_| ApiError::invalid(Problem::part("uuid_parsing", loc, not_a_uuid(text))))
    }
}

/// What is wrong with a text that should be an id.
pub(crate) fn not_a_uuid(text: &str) -> String {
    let shown: String = text.chars().take(64).collect();
    format!(
        "Input should be a valid UUID in the hyphenated form of 36 characters, not `{shown}`: use \
         an id that this service gave out"
    )
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

    /// All values given for `name`, also those joined by commas.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).flat_map(|(_, value)| value.split(','))
    }

    /// `wait`: how long to wait for an end, in seconds.
    pub(crate) fn wait(&self) -> Result<Duration, ApiError> {
        let Some(text) = self.get("wait") else { return Ok(Duration::ZERO) };
        let loc = ["query", "wait"];
        let seconds: f64 = text.parse().map_err(|_| {
            let msg = format!("Input should be a number of seconds from 0 to 60, not `{text}`");
            ApiError::invalid(Problem::part("float_parsing", loc, msg))
        })?;
        wait(seconds).map_err(|(kind, msg)| ApiError::invalid(Problem::part(kind, loc, msg)))
    }

    /// `cursor` and `limit` of a list.
    pub(crate) fn page(&self) -> Result<(Option<&str>, usize), ApiError> {
        let limit = match self.get("limit") {
            None => DEFAULT_PAGE,
            Some(text) => {
                let number = text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
                number.ok_or_else(|| {
                    let msg =
                        format!("Input should be a number from 1 to {MAX_PAGE}, not `{text}`");
                    ApiError::invalid(Problem::part("int_parsing", ["query", "limit"], msg))
                })?
            }
        };
        Ok((self.get("cursor").filter(|cursor| !cursor.is_empty()), limit))
    }

    /// The value of `name` in another form, whose error says in which words it may be given.
    pub(crate) fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &self,
        name: &'static str,
        kind: &'static str,
    ) -> Result<Option<T>, ApiError> {
        let given = self.get(name).filter(|text| !text.is_empty());
        given.map(|text| parse(text, name, kind)).transpose()
    }

    /// The same of all values of `name`.
    pub(crate) fn parsed_all<T: FromStr<Err: std::fmt::Display>, C: FromIterator<T>>(
        &self,
        name: &'static str,
        kind: &'static str,
    ) -> Result<C, ApiError> {
        let given = self.all(name).filter(|text| !text.is_empty());
        given.map(|text| parse(text, name, kind)).collect()
    }
}

fn parse<T: FromStr<Err: std::fmt::Display>>(
    text: &str,
    name: &'static str,
    kind: &'static str,
) -> Result<T, ApiError> {
    text.parse().map_err(|error| {
        let msg = format!("Input should be valid: {error}");
        ApiError::invalid(Problem::part(kind, ["query", name], msg))
    })
}

/// A time to wait, or what is wrong with it: the kind of mistake and a sentence.
pub(crate) fn wait(seconds: f64) -> Result<Duration, (&'static str, Cow<'static, str>)> {
    if (0.0..=MAX_WAIT_SECONDS).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    let kind = match seconds {
        seconds if seconds < 0.0 => "greater_than_equal",
        seconds if seconds > MAX_WAIT_SECONDS => "less_than_equal",
        _ => "finite_number",
    };
    Err((
        kind,
        format!("Input should be from 0 to 60 seconds, not {seconds}: ask again after that").into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded() {
        assert_eq!(wait(0.25), Ok(Duration::from_millis(250)));
        assert_eq!(wait(60.0), Ok(Duration::from_secs(60)));
        for (seconds, kind) in [
            (-1.0, "greater_than_equal"),
            (60.1, "less_than_equal"),
            (f64::INFINITY, "less_than_equal"),
            (f64::NAN, "finite_number"),
        ] {
            assert_eq!(wait(seconds).map_err(|(kind, _)| kind), Err(kind));
        }
    }

    #[test]
    fn the_last_value_counts() {
        let query = Query(vec![("a".into(), "1".into()), ("a".into(), "2,3".into())]);
        assert_eq!(query.get("a"), Some("2,3"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2", "3"]);
    }
}
