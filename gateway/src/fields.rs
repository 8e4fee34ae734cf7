//! Request bodies. Each is declared once, with [`request_body!`]: the declaration says which fields there
//! are, and the types of the fields say how a value is read from JSON, what can be wrong with it, and how
//! `/openapi.json` describes it.
//!
//! The same declaration reads MessagePack, where a field of base64 may also be bytes.
//!
//! A body is read in one pass that keeps nothing but the values of known fields. A wrong value does not end
//! the pass, so that the answer names every mistake.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use utoipa::openapi::{RefOr, Schema};

use crate::error::ApiError;
use crate::media::BodyForm;
use crate::problem::{Place, Problem};

/// The most fields of one body that this service does not know.
const MAX_UNKNOWN: usize = 64;
/// As much of an unknown field's name as an answer repeats, in characters.
const SHOWN_NAME: usize = 64;

/// How deeply MessagePack may be nested: as JSON may.
const MAX_DEPTH: usize = 128;

/// What is wrong with a value; the place is added on the way out.
pub(crate) type Wrong = Vec<Problem>;

/// A type that a field can have.
pub(crate) trait FieldType<'de>: Sized {
    /// What is said of a JSON value of another type: the kind of mistake, and what was expected.
    const EXPECTED: (&'static str, &'static str);

    /// How `/openapi.json` describes it.
    fn schema() -> RefOr<Schema>;

    /// Reads a string.
    fn text(_: Cow<'de, str>) -> Result<Self, Wrong> {
        Err(wrong_type::<Self>("a string"))
    }

    /// Reads a string with escapes, which is gone afterwards.
    fn passing_text(text: &str) -> Result<Self, Wrong> {
        Self::text(Cow::Owned(text.to_owned()))
    }

    /// Reads bytes, which JSON does not have.
    fn bytes(_: &'de [u8]) -> Result<Self, Wrong> {
        Err(wrong_type::<Self>("bytes"))
    }

    /// Reads a number.
    fn number(_: Number) -> Result<Self, Wrong> {
        Err(wrong_type::<Self>("a number"))
    }

    /// Reads a list.
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Result<Self, Wrong>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(wrong_type::<Self>("a list")))
    }

    /// Reads an object.
    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Result<Self, Wrong>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Err(wrong_type::<Self>("an object")))
    }
}

fn wrong_type<'de, T: FieldType<'de>>(given: &str) -> Wrong {
    let (kind, expected) = T::EXPECTED;
    vec![Problem::here(kind, format!("Input should be {expected}, not {given}"))]
}

/// One field while a body is read.
pub(crate) enum Field<T> {
    /// It was not given.
    Absent,
    /// It is `null`, which for an optional field means the same.
    Null,
    /// Its value.
    Given(T),
    /// What is wrong with its value.
    Wrong(Wrong),
}

impl<'de, T: FieldType<'de>> Field<T> {
    /// Reads the value that comes next in `map`.
    pub(crate) fn read<A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        if !matches!(self, Self::Absent) {
            return Err(A::Error::custom(format!("the field `{name}` is given twice")));
        }
        *self = map.next_value()?;
        Ok(())
    }

    /// The value of a field that must be there.
    pub(crate) fn required(self, name: &'static str, problems: &mut Vec<Problem>) -> Option<T> {
        match self {
            Self::Absent => problems.push(Problem::here("missing", "Field required").under(name)),
            Self::Null => problems.extend(under(name, wrong_type::<T>("null"))),
            Self::Given(_) | Self::Wrong(_) => return self.optional(name, problems),
        }
        None
    }

    /// The value of a field that may be there.
    pub(crate) fn optional(self, name: &'static str, problems: &mut Vec<Problem>) -> Option<T> {
        match self {
            Self::Absent | Self::Null => None,
            Self::Given(value) => Some(value),
            Self::Wrong(wrong) => {
                problems.extend(under(name, wrong));
                None
            }
        }
    }
}

fn under(name: &'static str, wrong: Wrong) -> impl Iterator<Item = Problem> {
    wrong.into_iter().map(move |problem| problem.under(name))
}

impl<'de, T: FieldType<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: FieldType<'de>> FieldVisitor<T> {
    fn field<E>(read: Result<T, Wrong>) -> Result<Field<T>, E> {
        Ok(read.map_or_else(Field::Wrong, Field::Given))
    }
}

impl<'de, T: FieldType<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED.1)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field<T>, E> {
        Ok(Field::Wrong(wrong_type::<T>("a boolean")))
    }

    fn visit_unit<E>(self) -> Result<Field<T>, E> {
        Ok(Field::Null)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Field<T>, E> {
        Self::field(T::number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Field<T>, E> {
        Self::field(T::number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Field<T>, E> {
        let number = Number::from_f64(number).ok_or_else(|| wrong_type::<T>("infinite"));
        Self::field(number.and_then(T::number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Field<T>, E> {
        Self::field(T::text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field<T>, E> {
        Self::field(T::passing_text(text))
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Field<T>, E> {
        Self::field(T::bytes(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Field<T>, A::Error> {
        Self::field(T::list(list)?)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Field<T>, A::Error> {
        Self::field(T::object(map)?)
    }
}

/// The fields of a body that are not declared.
#[derive(Default)]
pub(crate) struct Unknown {
    names: Vec<String>,
    problems: Vec<Problem>,
}

impl Unknown {
    /// Notes a field, and skips its value. One that looks like one of `known` is a mistake: it may be
    /// the field that asks for the sandbox.
    pub(crate) fn add<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        known: &[&str],
        map: &mut A,
    ) -> Result<(), A::Error> {
        map.next_value::<IgnoredAny>()?;
        self.note(name, known);
        Ok(())
    }

    /// The same, of a field without a value, or whose value was read.
    pub(crate) fn note(&mut self, name: &str, known: &[&str]) {
        if self.names.len() >= MAX_UNKNOWN {
            let msg = format!("Input has more than {MAX_UNKNOWN} fields that are not known here");
            self.problems = vec![Problem::here("extra_forbidden", msg)];
            return;
        }
        let shown: String = name.chars().take(SHOWN_NAME).collect();
        if let Some(meant) = meant(&shown, known) {
            let msg = format!("`{shown}` is not a field of this request: did you mean `{meant}`?");
            self.problems.push(Problem::here("extra_forbidden", msg).under(shown.clone()));
        }
        self.names.push(shown);
    }

    /// The names, and what is wrong with them.
    pub(crate) fn take(self) -> (Vec<String>, Vec<Problem>) {
        (self.names, self.problems)
    }
}

/// The known field that `name` was probably meant to be.
fn meant<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace(['_', '-'], "");
    let given = plain(name);
    let is_close = |field: &&&str| {
        let field = plain(field);
        let shorter = given.len().min(field.len());
        let most = if shorter >= 5 { 2 } else { 1 };
        let is_prefix = shorter >= 4 && (field.starts_with(&given) || given.starts_with(&field));
        is_prefix || (shorter >= 3 && strsim::osa_distance(&given, &field) <= most)
    };
    known
        .iter()
        .filter(is_close)
        .min_by_key(|field| strsim::osa_distance(&given, &plain(field)))
        .copied()
}

/// Reads the object of a request, or says everything that is wrong with it.
pub(crate) fn parse<'de, T: FieldType<'de>>(
    form: BodyForm,
    body: &'de [u8],
) -> Result<T, ApiError> {
    let in_body = |problem: Problem| problem.under("body");
    if body.iter().all(u8::is_ascii_whitespace) {
        let msg = "Field required: the body is empty, and a JSON object was expected";
        return Err(ApiError::invalid(in_body(Problem::here("missing", msg))));
    }
    let read = match form {
        BodyForm::MessagePack => from_message_pack(body),
        BodyForm::Json | BodyForm::Pickle => from_json(body),
    };
    let wrong = match read {
        Ok(Field::Given(body)) => return Ok(body),
        Ok(Field::Wrong(wrong)) => wrong,
        Ok(Field::Absent | Field::Null) => wrong_type::<T>("null"),
        Err(problem) => vec![problem],
    };
    Err(ApiError::Invalid(wrong.into_iter().map(in_body).collect()))
}

fn from_json<'de, T: FieldType<'de>>(body: &'de [u8]) -> Result<Field<T>, Problem> {
    serde_json::from_slice(body).map_err(|error| match error.is_data() {
        true => Problem::here("value_error", format!("Input should be valid: {error}")),
        false => not_json(body, &error),
    })
}

fn from_message_pack<'de, T: FieldType<'de>>(body: &'de [u8]) -> Result<Field<T>, Problem> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(body);
    reader.set_max_depth(MAX_DEPTH);
    Field::deserialize(&mut reader).map_err(|error| {
        Problem::here("msgpack_invalid", format!("Input should be valid MessagePack: {error}"))
    })
}

fn not_json(body: &[u8], error: &serde_json::Error) -> Problem {
    let lines = body.split_inclusive(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
    let line_start: usize = lines.map(<[u8]>::len).sum();
    let msg = format!("JSON decode error: {error}");
    Problem::here("json_invalid", msg).under(Place::Index(line_start + error.column()))
}

/// Declares the body of a request: `required` and `optional` fields of types that are [`FieldType`]s.
/// The struct has an `Option` for each optional field, and `ignored`: the names of fields that were
/// given and are not declared.
macro_rules! request_body {
    (
        $(#[doc = $about:literal])*
        $visibility:vis struct $name:ident<$de:lifetime> {
            $($(#[doc = $doc:literal])* $need:ident $field:ident: $type:ty,)*
        }
    ) => {
        $(#[doc = $about])*
        $visibility struct $name<$de> {
            $($(#[doc = $doc])* $visibility $field: request_body!(@type $need $type),)*
            /// Fields that were given and are not declared.
            $visibility ignored: Vec<String>,
            lifetime: std::marker::PhantomData<&$de ()>,
        }

        impl<$de> $crate::fields::FieldType<$de> for $name<$de> {
            const EXPECTED: (&'static str, &'static str) =
                ("model_attributes_type", "a JSON object");

            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let object = utoipa::openapi::ObjectBuilder::new()
                    $(.property(stringify!($field), $crate::fields::describe::<$type>(
                        request_body!(@is_required $need), concat!($($doc),*))))*;
                let required = [$((stringify!($field), request_body!(@is_required $need))),*];
                required.into_iter().filter(|(_, is_required)| *is_required)
                    .fold(object, |object, (field, _)| object.required(field))
                    .build().into()
            }

            fn object<A: serde::de::MapAccess<$de>>(
                mut map: A,
            ) -> Result<Result<Self, $crate::fields::Wrong>, A::Error> {
                $(let mut $field = $crate::fields::Field::<$type>::Absent;)*
                let mut unknown = $crate::fields::Unknown::default();
                while let Some($crate::fields::Key(key)) = map.next_key()? {
                    match &*key {
                        $(stringify!($field) => $field.read(&key, &mut map)?,)*
                        other => unknown.add(other, &[$(stringify!($field)),*], &mut map)?,
                    }
                }
                let (ignored, mut problems) = unknown.take();
                $(let $field = $field.$need(stringify!($field), &mut problems);)*
                if !problems.is_empty() {
                    return Ok(Err(problems));
                }
                $(request_body!(@unwrap $need $field problems);)*
                Ok(Ok(Self { $($field,)* ignored, lifetime: std::marker::PhantomData }))
            }
        }

        impl utoipa::PartialSchema for $name<'_> {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                <Self as $crate::fields::FieldType<'_>>::schema()
            }
        }

        impl utoipa::ToSchema for $name<'_> {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }
    };
    (@type required $type:ty) => { $type };
    (@type optional $type:ty) => { Option<$type> };
    (@is_required required) => { true };
    (@is_required optional) => { false };
    (@unwrap required $field:ident $problems:ident) => {
        let Some($field) = $field else { return Ok(Err($problems)) };
    };
    (@unwrap optional $field:ident $problems:ident) => {};
}
pub(crate) use request_body;

/// A name in an object.
pub(crate) struct Key<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(name.chars().take(SHOWN_NAME).collect())))
            }
        }
        json.deserialize_str(KeyVisitor)
    }
}

/// The schema of a field: that of its type with what the declaration says.
pub(crate) fn describe<'de, T: FieldType<'de>>(is_required: bool, about: &str) -> RefOr<Schema> {
    use utoipa::openapi::schema::{OneOfBuilder, SchemaType, Type};
    let about = Some(about.trim().to_owned());
    match T::schema() {
        RefOr::T(Schema::Object(mut object)) => {
            object.description = about;
            if let (false, SchemaType::Type(plain)) = (is_required, &object.schema_type) {
                object.schema_type = SchemaType::from_iter([plain.clone(), Type::Null]);
            }
            Schema::Object(object).into()
        }
        RefOr::T(Schema::Array(mut array)) => {
            array.description = about;
            if !is_required {
                array.schema_type = SchemaType::from_iter([Type::Array, Type::Null]);
            }
            Schema::Array(array).into()
        }
        other if is_required => other,
        other => {
            let null = utoipa::openapi::ObjectBuilder::new().schema_type(Type::Null);
            Schema::OneOf(OneOfBuilder::new().item(other).item(null).description(about).build())
                .into()
        }
    }
}

#[cfg(test)]
mod tests;
