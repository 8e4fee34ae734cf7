//! What is wrong with a request, in the form that users of FastAPI know: `{"type", "loc", "msg"}`.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The kind of mistake, for programs.
    #[serde(rename = "type")]
    #[schema(example = "missing")]
    pub(crate) kind: &'static str,
    /// Where it is.
    #[schema(example = json!(["body", "payload"]))]
    pub(crate) loc: Vec<Place>,
    /// One sentence.
    pub(crate) msg: Cow<'static, str>,
}

/// One step on the way to a mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Place {
    /// A field, or a part of the request.
    Name(Cow<'static, str>),
    /// An element of a list, or an offset in the text.
    Index(usize),
}

impl From<&'static str> for Place {
    fn from(name: &'static str) -> Self {
        Self::Name(name.into())
    }
}

impl From<String> for Place {
    fn from(name: String) -> Self {
        Self::Name(name.into())
    }
}

impl Problem {
    /// A problem whose place is not known yet.
    pub(crate) fn here(kind: &'static str, msg: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, loc: Vec::new(), msg: msg.into() }
    }

    /// A problem with a field of the body.
    pub(crate) fn body(
        kind: &'static str,
        field: &'static str,
        msg: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::here(kind, msg).under(field).under("body")
    }

    /// A problem with a part of the path, of the query or of the headers.
    pub(crate) fn part(
        kind: &'static str,
        [part, name]: [&'static str; 2],
        msg: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::here(kind, msg).under(name).under(part)
    }

    /// The same problem, one step deeper: under `place`.
    pub(crate) fn under(mut self, place: impl Into<Place>) -> Self {
        self.loc.insert(0, place.into());
        self
    }
}

/// As much of a client's text as an error repeats.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
