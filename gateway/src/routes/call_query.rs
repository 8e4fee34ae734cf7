//! A call whose body is its pickled arguments alone: all else stands in the query.

use belljar_core::files::MAX_PATTERNS;
use belljar_core::id::{FunctionId, SessionId};
use belljar_core::task::{Priority, Runtime};
use utoipa::IntoParams;

use crate::error::ApiError;
use crate::extract::Query;
use crate::fields::{FieldType, Unknown, Wrong};
use crate::problem::Problem;
use crate::routes::submit_request::Options;
use crate::schema::{PriorityName, RuntimeName};
use crate::values::{Delay, FilePattern, IdempotencyKey, Seconds};

/// The names that are known here.
const KNOWN: [&str; 8] = [
    "function_id",
    "runtime",
    "timeout_s",
    "idempotency_key",
    "priority",
    "delay_s",
    "session_id",
    "outputs",
];

/// The fields of a call, for a body of `application/octet-stream`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `BareCall` reads")]
pub(super) struct CallQuery {
    /// The function to call. This and what follows only with a body of `application/octet-stream`, where it must be
    /// there; else it is a field of the body.
    function_id: Option<uuid::Uuid>,
    /// As the field of the body.
    #[param(value_type = Option<RuntimeName>)]
    runtime: Option<Runtime>,
    /// As the field of the body.
    timeout_s: Option<f64>,
    /// As the field of the body, and as the header `Idempotency-Key`.
    idempotency_key: Option<String>,
    /// As the field of the body.
    #[param(value_type = Option<PriorityName>)]
    priority: Option<Priority>,
    /// As the field of the body.
    delay_s: Option<f64>,
    /// As the field of the body.
    session_id: Option<uuid::Uuid>,
    /// As the field of the body; repeated, not separated by commas.
    outputs: Option<Vec<String>>,
}

/// What the query says of a call.
pub(super) struct BareCall {
    pub(super) function_id: FunctionId,
    /// Without the idempotency key.
    pub(super) options: Options,
    pub(super) idempotency_key: Option<IdempotencyKey>,
    pub(super) outputs: Vec<String>,
    /// Names that are not known.
    pub(super) ignored: Vec<String>,
}

impl BareCall {
    /// Reads a query, or says everything that is wrong with it.
    pub(super) fn read(query: &Query) -> Result<Self, ApiError> {
        let mut unknown = Unknown::default();
        let others = query.names().filter(|name| !KNOWN.contains(name) && *name != "wait");
        others.for_each(|name| unknown.note(name, &KNOWN));
        let (ignored, problems) = unknown.take();
        let mut fields = Fields { query, problems };
        let function_id = fields.text::<FunctionId>("function_id");
        if query.get("function_id").is_none() {
            let problem = Problem::here("missing", "Field required").under("function_id");
            fields.problems.push(problem);
        }
        let runtime = fields.text::<Runtime>("runtime");
        let timeout_s = fields.number::<Seconds>("timeout_s").map(|seconds| seconds.0);
        let idempotency_key = fields.text::<IdempotencyKey>("idempotency_key");
        let priority = fields.text::<Priority>("priority").unwrap_or_default();
        let delay_ms = fields.number::<Delay>("delay_s").map_or(0, |delay| delay.0);
        let session = fields.text::<SessionId>("session_id");
        let outputs = fields.outputs();
        match function_id {
            Some(function_id) if fields.problems.is_empty() => {
                let options =
                    Options { runtime, timeout_s, key: None, priority, delay_ms, session: None }
                        .in_session(session);
                Ok(Self { function_id, options, idempotency_key, outputs, ignored })
            }
            _ => {
                let in_query = |problem: Problem| problem.under("query");
                Err(ApiError::Invalid(fields.problems.into_iter().map(in_query).collect()))
            }
        }
    }
}

/// The fields in a query, and what was found wrong with them.
struct Fields<'a> {
    query: &'a Query,
    problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    /// A field that JSON has as a text.
    fn text<T: FieldType<'a>>(&mut self, name: &'static str) -> Option<T> {
        let text = self.query.get(name)?;
        self.checked(name, T::text(text.into()))
    }

    /// A field that JSON has as a number.
    fn number<T: FieldType<'a>>(&mut self, name: &'static str) -> Option<T> {
        let text = self.query.get(name)?;
        let number = text.parse().ok().and_then(serde_json::Number::from_f64);
        // What is no number is wrong in the way that a text in JSON is.
        self.checked(name, number.map_or_else(|| T::text(text.into()), T::number))
    }

    fn outputs(&mut self) -> Vec<String> {
        let patterns: Vec<_> = self.query.each("outputs").collect();
        if patterns.len() > MAX_PATTERNS {
            let msg = format!(
                "Input should have at most {MAX_PATTERNS} elements, not {}: send less at once",
                patterns.len()
            );
            self.problems.push(Problem::here("too_long", msg).under("outputs"));
            return Vec::new();
        }
        let read = |text: &'a str| self.checked("outputs", FilePattern::text(text.into()));
        patterns.into_iter().filter_map(read).map(|pattern| pattern.0).collect()
    }

    fn checked<T>(&mut self, name: &'static str, read: Result<T, Wrong>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.problems.extend(wrong.into_iter().map(|problem| problem.under(name)));
                None
            }
        }
    }
}
