//! The types that fields of requests have, each with its rules: what it takes, and what `/openapi.json`
//! says of it.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use belljar_core::files::{CallFile, MAX_FILES, MAX_NAME_BYTES, Patterns, check_name};
use belljar_core::id::{FunctionId, SessionId, TaskId};
use belljar_core::labels::{Labels, MAX_LABELS_BYTES};
use belljar_core::requirements::{InvalidRequirement, MAX_REQUIREMENT_BYTES, Requirement};
use belljar_core::task::{Priority, PythonVersion, Runtime};
use belljar_core::warm::WarmMode;
use belljar_pickle::payload::{self, InvalidBase64};
use belljar_store::record::Timestamp;
use bytes::Bytes;
use serde::de::{IgnoredAny, MapAccess, SeqAccess};
use serde_json::Number;
use utoipa::openapi::schema::{KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, RefOr, Schema};

use crate::fields::{Field, FieldType, Wrong};
use crate::problem::{Place, Problem, shown};

/// The longest that a request may wait, in seconds.
const MAX_WAIT_SECONDS: f64 = 60.0;
/// The longest delay: thirty days, in seconds.
const MAX_DELAY_SECONDS: f64 = 2_592_000.0;
/// The longest idempotency key, in bytes.
const MAX_KEY: usize = 256;

const STRING: (&str, &str) = ("string_type", "a valid string");
const NUMBER: (&str, &str) = ("float_type", "a valid number");
const UUID: (&str, &str) = ("uuid_type", "a UUID as a string");

fn object(schema_type: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(schema_type)
}

fn wrong<T>(kind: &'static str, msg: String) -> Result<T, Wrong> {
    Err(vec![Problem::here(kind, msg)])
}

/// Text of at most `MAX` bytes.
pub(crate) struct Text<'de, const MAX: usize>(pub(crate) Cow<'de, str>);

impl<'de, const MAX: usize> FieldType<'de> for Text<'de, MAX> {
    const EXPECTED: (&'static str, &'static str) = STRING;

    fn schema() -> RefOr<Schema> {
        object(Type::String).max_length(Some(MAX)).into()
    }

    fn text(text: Cow<'de, str>) -> Result<Self, Wrong> {
        if text.len() <= MAX {
            return Ok(Self(text));
        }
        let msg = format!("Input should have at most {MAX} bytes, not {}", text.len());
        wrong("string_too_long", msg)
    }
}

/// A pickle in base64, or as it is where a body has bytes.
pub(crate) enum Payload<'de> {
    Text(&'de str),
    /// Of a text with escapes, which are not kept: the pickle is shorter.
    Decoded(Result<Vec<u8>, InvalidBase64>),
    Bytes(&'de [u8]),
}

impl Payload<'_> {
    /// The pickle; without a copy where it is a part of `body`, from which this was read.
    pub(crate) fn decode(self, body: &Bytes) -> Result<Bytes, InvalidBase64> {
        match self {
            Self::Text(text) => payload::decode(text).map(Into::into),
            Self::Decoded(decoded) => decoded.map(Into::into),
            Self::Bytes(bytes) => Ok(body.slice_ref(bytes)),
        }
    }
}

impl<'de> FieldType<'de> for Payload<'de> {
    const EXPECTED: (&'static str, &'static str) = STRING;

    fn schema() -> RefOr<Schema> {
        object(Type::String).content_encoding("base64").into()
    }

    fn text(text: Cow<'de, str>) -> Result<Self, Wrong> {
        match text {
            Cow::Borrowed(text) => Ok(Self::Text(text)),
            Cow::Owned(text) => Self::passing_text(&text),
        }
    }

    fn passing_text(text: &str) -> Result<Self, Wrong> {
        Ok(Self::Decoded(payload::decode(text)))
    }

    fn bytes(bytes: &'de [u8]) -> Result<Self, Wrong> {
        Ok(Self::Bytes(bytes))
    }
}

/// The key under which a submission may be repeated.
pub(crate) struct IdempotencyKey(pub(crate) String);

impl IdempotencyKey {
    /// Takes a key of 1 to [`MAX_KEY`] bytes.
    pub(crate) fn new(key: String) -> Result<Self, Wrong> {
        if (1..=MAX_KEY).contains(&key.len()) {
            return Ok(Self(key));
        }
        let msg = format!("Input should have from 1 to {MAX_KEY} bytes, not {}", key.len());
        wrong("string_length", msg)
    }
}

impl<'de> FieldType<'de> for IdempotencyKey {
    const EXPECTED: (&'static str, &'static str) = STRING;

    fn schema() -> RefOr<Schema> {
        object(Type::String).min_length(Some(1)).max_length(Some(MAX_KEY)).into()
    }

    fn text(text: Cow<'de, str>) -> Result<Self, Wrong> {
        Self::new(text.into_owned())
    }
}

/// Declares that `$type` is read from a string by its `FromStr`.
macro_rules! parsed {
    ($type:ty, $expected:expr, $kind:literal, $read:expr, $schema:expr) => {
        impl<'de> FieldType<'de> for $type {
            const EXPECTED: (&'static str, &'static str) = $expected;

            fn schema() -> RefOr<Schema> {
                $schema
            }

            fn text(text: Cow<'de, str>) -> Result<Self, Wrong> {
                $read(&text).or_else(|msg| wrong($kind, msg))
            }
        }
    };
}

parsed!(FunctionId, UUID, "uuid_parsing", id, uuid());
parsed!(
    Requirement,
    STRING,
    "requirement_invalid",
    |text: &str| text.parse().map_err(|error: InvalidRequirement| error.to_string()),
    object(Type::String).max_length(Some(MAX_REQUIREMENT_BYTES)).examples(["jinja2==3.1.4"]).into()
);
parsed!(SessionId, UUID, "uuid_parsing", id, uuid());
parsed!(TaskId, UUID, "uuid_parsing", id, uuid());
parsed!(Runtime, STRING, "enum", word, crate::schema::reference("Runtime"));
parsed!(Priority, STRING, "enum", priority, crate::schema::reference("Priority"));
parsed!(WarmMode, STRING, "enum", word, crate::schema::reference("Warm"));
parsed!(PythonVersion, STRING, "enum", word, object(Type::String).into());

fn uuid() -> RefOr<Schema> {
    object(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))).into()
}

/// An id in a request, or what is wrong with it.
pub(crate) fn id<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| match text {
        "" => "Input should be an id that this service gave out, not an empty text".to_owned(),
        text => format!(
            "Input should be a valid UUID in the hyphenated form of 36 characters, not `{}`: use an \
             id that this service gave out",
            shown(text)
        ),
    })
}

/// One of some words, or what is wrong with it.
pub(crate) fn word<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    shown(text).parse().map_err(|error: T::Err| error.to_string())
}

/// A time in a request, or what is wrong with it.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let since = humantime::parse_rfc3339(text).ok();
    let since = since.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let us = since.and_then(|since| u64::try_from(since.as_micros()).ok());
    us.map(Timestamp).ok_or_else(|| {
        format!("Input should be a time such as 2026-01-02T03:04:05Z, not `{}`", shown(text))
    })
}

fn priority(text: &str) -> Result<Priority, String> {
    let named = Priority::ALL.into_iter().find(|priority| priority.as_str() == text);
    named.ok_or_else(|| format!("`{}` is not a priority: high, normal or low", shown(text)))
}

/// Seconds, as they are given.
pub(crate) struct Seconds(pub(crate) f64);

impl<'de> FieldType<'de> for Seconds {
    const EXPECTED: (&'static str, &'static str) = NUMBER;

    fn schema() -> RefOr<Schema> {
        object(Type::Number).exclusive_minimum(Some(0)).into()
    }

    fn number(number: Number) -> Result<Self, Wrong> {
        Ok(Self(number.as_f64().unwrap_or(f64::NAN)))
    }
}

/// How long a request waits, in seconds.
pub(crate) struct Wait(pub(crate) Duration);

impl Wait {
    /// Takes 0 to [`MAX_WAIT_SECONDS`].
    pub(crate) fn new(seconds: f64) -> Result<Self, Wrong> {
        if (0.0..=MAX_WAIT_SECONDS).contains(&seconds) {
            return Ok(Self(Duration::from_secs_f64(seconds)));
        }
        let kind = match seconds {
            seconds if seconds < 0.0 => "greater_than_equal",
            seconds if seconds > MAX_WAIT_SECONDS => "less_than_equal",
            _ => "finite_number",
        };
        let msg =
            format!("Input should be from 0 to 60 seconds, not {seconds}: ask again after that");
        wrong(kind, msg)
    }
}

impl<'de> FieldType<'de> for Wait {
    const EXPECTED: (&'static str, &'static str) = NUMBER;

    fn schema() -> RefOr<Schema> {
        object(Type::Number).minimum(Some(0)).maximum(Some(MAX_WAIT_SECONDS)).into()
    }

    fn number(number: Number) -> Result<Self, Wrong> {
        Self::new(number.as_f64().unwrap_or(f64::NAN))
    }
}

/// How long a task is held back, in milliseconds; a request says it in seconds.
pub(crate) struct Delay(pub(crate) u64);

impl<'de> FieldType<'de> for Delay {
    const EXPECTED: (&'static str, &'static str) = NUMBER;

    fn schema() -> RefOr<Schema> {
        object(Type::Number).minimum(Some(0)).maximum(Some(MAX_DELAY_SECONDS)).into()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked"
    )]
    fn number(number: Number) -> Result<Self, Wrong> {
        let seconds = number.as_f64().unwrap_or(f64::NAN);
        if (0.0..=MAX_DELAY_SECONDS).contains(&seconds) {
            return Ok(Self((seconds * 1_000.0).ceil() as u64));
        }
        let kind = if seconds < 0.0 { "greater_than_equal" } else { "less_than_equal" };
        wrong(kind, format!("Input should be from 0 to {MAX_DELAY_SECONDS} seconds, not {seconds}"))
    }
}

/// A whole number from `MIN` to 2^32 - 1.
pub(crate) struct Count<const MIN: u32>(pub(crate) u32);

impl<'de, const MIN: u32> FieldType<'de> for Count<MIN> {
    const EXPECTED: (&'static str, &'static str) = ("int_type", "a valid integer");

    fn schema() -> RefOr<Schema> {
        object(Type::Integer).minimum(Some(MIN)).into()
    }

    fn number(number: Number) -> Result<Self, Wrong> {
        match number.as_u64().and_then(|count| u32::try_from(count).ok()) {
            Some(count) if count >= MIN => Ok(Self(count)),
            Some(count) => {
                wrong("greater_than_equal", format!("Input should be at least {MIN}, not {count}"))
            }
            None => {
                let msg = format!("Input should be a whole number from {MIN} on, not {number}");
                wrong("int_parsing", msg)
            }
        }
    }
}

/// Labels, as an object of names and values.
pub(crate) struct LabelFields(pub(crate) Labels);

impl<'de> FieldType<'de> for LabelFields {
    const EXPECTED: (&'static str, &'static str) = ("dict_type", "an object of names and values");

    fn schema() -> RefOr<Schema> {
        object(Type::Object).additional_properties(Some(Schema::from(object(Type::String)))).into()
    }

    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Result<Self, Wrong>, A::Error> {
        let (mut text, mut found) = (String::new(), Vec::new());
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let value = map.next_value::<Field<Text<'de, MAX_LABELS_BYTES>>>()?;
            let value = value.required("", &mut found);
            // No more is kept than may be.
            if let Some(Text(value)) = value.filter(|_| text.len() <= MAX_LABELS_BYTES) {
                let comma = if text.is_empty() { "" } else { "," };
                text = format!("{text}{comma}{name}={value}");
            }
        }
        if !found.is_empty() {
            return Ok(Err(found));
        }
        Ok(match text.parse() {
            Ok(labels) => Ok(Self(labels)),
            Err(error) => wrong("value_error", format!("{error}")),
        })
    }
}

/// A list of at most `MAX` elements. No more than these are kept while it is read.
pub(crate) struct List<T, const MAX: usize>(pub(crate) Vec<T>);

impl<'de, T: FieldType<'de>, const MAX: usize> FieldType<'de> for List<T, MAX> {
    const EXPECTED: (&'static str, &'static str) = ("list_type", "a valid list");

    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new().items(T::schema()).max_items(Some(MAX)).into()
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Result<Self, Wrong>, A::Error> {
        let mut items = Vec::new();
        let mut found = Vec::new();
        while items.len() < MAX && found.is_empty() {
            match list.next_element::<Field<T>>()? {
                None => return Ok(Ok(Self(items))),
                Some(field) => items.extend(field.element(items.len(), &mut found)),
            }
        }
        let mut more = 0;
        while list.next_element::<IgnoredAny>()?.is_some() {
            more += 1;
        }
        if more > 0 && found.is_empty() {
            let count = MAX + more;
            let msg =
                format!("Input should have at most {MAX} elements, not {count}: send less at once");
            return Ok(wrong("too_long", msg));
        }
        Ok(if found.is_empty() { Ok(Self(items)) } else { Err(found) })
    }
}

/// Files by their paths in the working directory of a call.
pub(crate) struct Files(pub(crate) Vec<CallFile>);

impl<'de> FieldType<'de> for Files {
    const EXPECTED: (&'static str, &'static str) = ("dict_type", "an object of names and contents");

    fn schema() -> RefOr<Schema> {
        let content = object(Type::String).content_encoding("base64");
        object(Type::Object).additional_properties(Some(Schema::from(content))).into()
    }

    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Result<Self, Wrong>, A::Error> {
        let (mut files, mut found) = (Vec::<CallFile>::new(), Vec::new());
        while files.len() < MAX_FILES && found.is_empty() {
            let Some(name) = map.next_key::<Cow<'de, str>>()? else { return Ok(Ok(Self(files))) };
            let content = map.next_value::<Field<Payload<'de>>>()?;
            let mut missing = Vec::new();
            let content = content.required("", &mut missing);
            let is_given = files.iter().any(|file| file.name == name);
            let file = match (check_name(&name), content) {
                (Err(error), _) => Err(error.to_string()),
                _ if is_given => Err(format!("`{name}` is given twice")),
                (_, None) => Err(format!("`{name}` should be a text in base64")),
                (_, Some(Payload::Bytes(bytes))) => Ok(Bytes::copy_from_slice(bytes)),
                (_, Some(text)) => text
                    .decode(&Bytes::new())
                    .map_err(|error| format!("`{name}` is not base64: {error}")),
            };
            match file {
                Ok(bytes) => files.push(CallFile { name: name.into_owned(), bytes }),
                Err(msg) => found.push(Problem::here("value_error", msg)),
            }
        }
        let mut more = 0;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            more += 1;
        }
        if more > 0 && found.is_empty() {
            let msg =
                format!("Input should have at most {MAX_FILES} files, not {}", MAX_FILES + more);
            return Ok(wrong("too_long", msg));
        }
        Ok(if found.is_empty() { Ok(Self(files)) } else { Err(found) })
    }
}

/// A pattern of paths in the working directory of a call.
pub(crate) struct FilePattern(pub(crate) String);

impl<'de> FieldType<'de> for FilePattern {
    const EXPECTED: (&'static str, &'static str) = STRING;

    fn schema() -> RefOr<Schema> {
        object(Type::String).max_length(Some(MAX_NAME_BYTES)).into()
    }

    fn text(text: Cow<'de, str>) -> Result<Self, Wrong> {
        let text = text.into_owned();
        match Patterns::read(std::slice::from_ref(&text)) {
            Ok(_) => Ok(Self(text)),
            Err(error) => wrong("value_error", error.to_string()),
        }
    }
}

impl<'de, T: FieldType<'de>> Field<T> {
    /// The value of an element of a list.
    fn element(self, index: usize, problems: &mut Wrong) -> Option<T> {
        let mut found = Vec::new();
        let value = self.required("", &mut found);
        let place = |mut problem: Problem| {
            problem.loc.splice(..1, [Place::Index(index)]);
            problem
        };
        problems.extend(found.into_iter().map(place));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded() {
        let wait = |seconds| Wait::new(seconds).map(|wait| wait.0).map_err(|wrong| wrong[0].kind);
        assert_eq!(wait(0.25), Ok(Duration::from_millis(250)));
        assert_eq!(wait(60.0), Ok(Duration::from_secs(60)));
        for (seconds, kind) in [
            (-1.0, "greater_than_equal"),
            (60.1, "less_than_equal"),
            (f64::INFINITY, "less_than_equal"),
            (f64::NAN, "finite_number"),
        ] {
            assert_eq!(wait(seconds), Err(kind));
        }
    }
}
