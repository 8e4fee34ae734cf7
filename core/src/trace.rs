//! Which trace a task belongs to: what W3C Trace Context calls `traceparent` and `tracestate`. Only tasks that are sampled have
//! one.
//!
//! Ids of a task's spans follow from the ids of the task and the attempt: who knows these links to a span that another
//! process made, or will make, without a byte sent for it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::task::TaskAttempt;

/// Names a trace; shown as 32 digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TraceId(#[serde(with = "serde_bytes")] pub [u8; 16]);

/// Names a span of a trace; shown as 16 digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SpanId(#[serde(with = "serde_bytes")] pub [u8; 8]);

/// A span that others belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span in it.
    pub span_id: SpanId,
    /// What the systems before this one want to be passed on: `tracestate`. Mostly empty, and left out of what is written then.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
}

impl TraceContext {
    /// Reads a `traceparent`, and says whether what belongs to it is sampled. `None` where it is against the standard: it
    /// is to be ignored then.
    #[must_use]
    pub fn parse(traceparent: &[u8]) -> Option<(Self, bool)> {
        let (known, more) = traceparent.split_at_checked(KNOWN_BYTES)?;
        let mut parts = known.split(|&byte| byte == b'-').map(digits);
        let mut next = || parts.next().flatten();
        let (version, trace_id, span_id, flags) = (next()?, next()?, next()?, next()?);
        let is_readable = match version[..] {
            [0] => more.is_empty(),
            [INVALID_VERSION] => false,
            // A later version may have more parts.
            [_] => more.is_empty() || more.starts_with(b"-"),
            _ => false,
        };
        let (trace_id, span_id) = (trace_id.try_into().ok()?, span_id.try_into().ok()?);
        let [flags] = flags.try_into().ok()?;
        let is_valid = is_readable && trace_id != [0; 16] && span_id != [0; 8];
        let (trace_id, span_id, state) = (TraceId(trace_id), SpanId(span_id), String::new());
        is_valid.then_some((Self { trace_id, span_id, state }, flags & SAMPLED != 0))
    }
}

/// The length of `00-<trace id>-<span id>-<flags>`.
const KNOWN_BYTES: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;
/// The version that the standard forbids.
const INVALID_VERSION: u8 = 0xff;
/// The flag of what is sampled.
const SAMPLED: u8 = 1;

/// The bytes that pairs of hexadecimal digits in lower case stand for.
fn digits(text: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let pairs = text.chunks(2).map(|pair| match *pair {
        [high, low] => Some(value(high)? << 4 | value(low)?),
        _ => None,
    });
    pairs.collect()
}

/// The span of a task, from its acceptance to its end.
#[must_use]
pub const fn task_span(task: TaskId) -> SpanId {
    let [a, b, c, d, e, f, g, h, ..] = *task.as_bytes();
    SpanId([a, b, c, d, e, f, g, h])
}

/// The span of an attempt at a task.
#[must_use]
pub const fn attempt_span(attempt: TaskAttempt) -> SpanId {
    let [.., a, b, c, d, e, f, g, h] = *attempt.task_id.as_bytes();
    let id = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    // The first bit of this half of a UUID is set: the id is never zero.
    SpanId((id ^ attempt.attempt.0 as u64).to_be_bytes())
}

macro_rules! hexadecimal {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hexadecimal!(TraceId);
hexadecimal!(SpanId);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Attempt;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_traceparent_is_read() {
        for (version, flags, more, sampled) in
            [("00", "01", "", true), ("00", "00", "", false), ("00", "03", "", true)]
                .into_iter()
                .chain([("cc", "01", "", true), ("cc", "09", "-what-the-future-holds", true)])
        {
            let text = format!("{version}-{TRACE}-{SPAN}-{flags}{more}");
            let (context, is_sampled) = TraceContext::parse(text.as_bytes()).expect("valid");
            assert_eq!(context.trace_id.to_string(), TRACE);
            assert_eq!(context.span_id.to_string(), SPAN);
            assert_eq!(is_sampled, sampled, "{text}");
        }
    }

    #[test]
    fn what_the_standard_forbids_is_no_traceparent() {
        let (zeros, capitals) = ("0".repeat(32), TRACE.to_uppercase());
        for text in [
            String::new(),
            "00".to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("cc-{TRACE}-{SPAN}-01.more"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[16..]),
            format!("00-{capitals}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0"),
            format!("0-{TRACE}-{SPAN}-011"),
            format!("00-{TRACE}{SPAN}-01--"),
            format!("+0-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}0-01", &TRACE[1..]),
            format!(" 00-{TRACE}-{SPAN}-0"),
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn spans_of_a_task_have_ids_of_their_own() {
        let task_id = TaskId::random();
        let of = |number| attempt_span(TaskAttempt { task_id, attempt: Attempt(number) });
        let ids = [task_span(task_id), of(1), of(2)];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id) && id.0 != [0; 8], "{ids:?}");
        }
        assert_eq!(of(1), of(1));
    }

    #[test]
    fn a_context_is_short_unless_it_has_a_state() {
        let text = format!("00-{TRACE}-{SPAN}-01");
        let (plain, _) = TraceContext::parse(text.as_bytes()).expect("valid");
        let with_state = TraceContext { state: "vendor=1".to_owned(), ..plain.clone() };
        let bytes = |context: &TraceContext| rmp_serde::to_vec(context).expect("serializable");
        assert_eq!(bytes(&plain).len(), 1 + 2 + 16 + 2 + 8);
        for context in [plain, with_state] {
            let read: TraceContext = rmp_serde::from_slice(&bytes(&context)).expect("readable");
            assert_eq!(read, context);
        }
    }
}
