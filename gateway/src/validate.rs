//! Says what is wrong with a JSON body, in the words that users of FastAPI know.
//!
//! Bodies are parsed straight into structs; only when that fails are they read a second time here,
//! against a list of [`Field`]s, to name each field that is missing or of the wrong type.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// The kind of mistake, for programs: `missing`, `string_type`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Where: `["body", "payload"]`.
    pub(crate) loc: Vec<Place>,
    /// One sentence.
    pub(crate) msg: Cow<'static, str>,
}

/// One step on the way to the mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Place {
    /// A field or a part of the request.
    Name(&'static str),
    /// An element of a list, or an offset in the text.
    Index(usize),
}

impl Problem {
    /// A problem with a field of the body.
    pub(crate) fn body(
        kind: &'static str,
        field: &'static str,
        msg: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { kind, loc: vec![Place::Name("body"), Place::Name(field)], msg: msg.into() }
    }

    /// A problem with a part of the path or of the query.
    pub(crate) fn part(
        kind: &'static str,
        loc: [&'static str; 2],
        msg: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { kind, loc: loc.map(Place::Name).to_vec(), msg: msg.into() }
    }

    /// The same problem, one step deeper.
    pub(crate) fn at(mut self, index: usize) -> Self {
        self.loc.push(Place::Index(index));
        self
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// A UUID as text.
    Id,
    /// A number with or without a fraction.
    Number,
    /// A whole number from 0 to 2^32 - 1.
    Count,
    /// A list of texts.
    Texts,
    /// A list of UUIDs as texts.
    Ids,
    /// An object.
    Object,
}

/// A field that a body may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) kind: Kind,
    /// Whether it must be there; one that need not be may also be `null`.
    pub(crate) is_required: bool,
}

impl Field {
    /// A field that must be there.
    pub(crate) const fn required(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, is_required: true }
    }

    /// A field that may be there.
    pub(crate) const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, is_required: false }
    }
}

/// Everything that is wrong with `body`, given that parsing it failed with `error`.
pub(crate) fn explain(body: &[u8], fields: &[Field], error: &serde_json::Error) -> Vec<Problem> {
    let body_place = || vec![Place::Name("body")];
    if body.iter().all(u8::is_ascii_whitespace) {
        return vec![Problem {
            kind: "missing",
            loc: body_place(),
            msg: "Field required: the body is empty, and a JSON object was expected".into(),
        }];
    }
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return vec![not_json(body, &error)],
    };
    let Value::Object(object) = value else {
        return vec![Problem {
            kind: "model_attributes_type",
            loc: body_place(),
            msg: format!("Input should be a JSON object, not {}", article(&value)).into(),
        }];
    };
    let problems: Vec<_> = fields
        .iter()
        .filter_map(|field| match object.get(field.name) {
            None | Some(Value::Null) if !field.is_required => None,
            None => Some(Problem::body("missing", field.name, "Field required")),
            Some(value) => check(field, value),
        })
        .collect();
    if problems.is_empty() {
        // Each field alone is right: a field was given twice.
        return vec![Problem {
            kind: "value_error",
            loc: body_place(),
            msg: format!("Input should be a valid request: {error}").into(),
        }];
    }
    problems
}

fn not_json(body: &[u8], error: &serde_json::Error) -> Problem {
    let line_start: usize = body
        .split_inclusive(|&byte| byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    Problem {
        kind: "json_invalid",
        loc: vec![Place::Name("body"), Place::Index(line_start + error.column())],
        msg: format!("JSON decode error: {error}").into(),
    }
}

fn check(field: &Field, value: &Value) -> Option<Problem> {
    let name = field.name;
    let wrong = |kind, expected: &str| {
        let msg = format!("Input should be {expected}, not {}", article(value));
        Some(Problem::body(kind, name, msg))
    };
    match (field.kind, value) {
        (Kind::Text | Kind::Id, Value::String(_)) | (Kind::Number, Value::Number(_)) => None,
        (Kind::Text, _) => wrong("string_type", "a valid string"),
        (Kind::Id, _) => wrong("uuid_type", "a UUID as a string"),
        (Kind::Number, _) => wrong("float_type", "a valid number"),
        (Kind::Count, Value::Number(number)) => {
            let fits = number.as_u64().is_some_and(|count| u32::try_from(count).is_ok());
            let msg = || format!("Input should be a whole number from 0 on, not {number}");
            (!fits).then(|| Problem::body("int_parsing", name, msg()))
        }
        (Kind::Count, _) => wrong("int_type", "a valid integer"),
        (Kind::Texts | Kind::Ids, Value::Array(items)) => {
            let (index, item) = items.iter().enumerate().find(|(_, item)| !item.is_string())?;
            let (kind, expected) = match field.kind {
                Kind::Ids => ("uuid_type", "a UUID as a string"),
                _ => ("string_type", "a valid string"),
            };
            let msg = format!("Input should be {expected}, not {}", article(item));
            Some(Problem::body(kind, name, msg).at(index))
        }
        (Kind::Texts | Kind::Ids, _) => wrong("list_type", "a valid list"),
        (Kind::Object, Value::Object(_)) => None,
        (Kind::Object, _) => wrong("dict_type", "an object"),
    }
}

const fn article(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        Field::required("name", Kind::Text),
        Field::required("payload", Kind::Text),
        Field::optional("retries", Kind::Count),
        Field::optional("ids", Kind::Ids),
    ];

    fn explained(body: &[u8]) -> Vec<Problem> {
        let error = serde_json::from_slice::<u8>(body).expect_err("no number");
        explain(body, FIELDS, &error)
    }

    #[test]
    fn every_field_is_named() {
        let problems = explained(br#"{"payload": 1, "retries": -1, "ids": ["a", 2]}"#);
        let seen: Vec<_> =
            problems.iter().map(|problem| (problem.kind, problem.loc.clone())).collect();
        let place = |name| vec![Place::Name("body"), Place::Name(name)];
        let mut ids = place("ids");
        ids.push(Place::Index(1));
        assert_eq!(
            seen,
            [
                ("missing", place("name")),
                ("string_type", place("payload")),
                ("int_parsing", place("retries")),
                ("uuid_type", ids),
            ]
        );
    }

    #[test]
    fn what_is_no_json_is_said_with_its_place() {
        for body in [&b"{"[..], b"{\"a\": NaN}", b"{\"a\": \"\xff\"}", &[b'['; 100_000]] {
            assert_eq!(explained(body).first().map(|problem| problem.kind), Some("json_invalid"));
        }
        assert_eq!(explained(b"  ").first().map(|problem| problem.kind), Some("missing"));
        let list = explained(b"[\"a\", \"b\"]");
        assert_eq!(list.first().map(|problem| problem.kind), Some("model_attributes_type"));
    }
}
