//! Spans of calls that are traced: of the call in its slot, and of its phases in the child.

use std::time::{Duration, SystemTime};

use belljar_core::invocation::Invocation;
use belljar_core::outcome::{Outcome, Phases};
use belljar_core::task::TaskAttempt;
use belljar_core::trace::{SpanId, TraceContext, attempt_span};
use belljar_traces::{Attribute, Kind, Span, Traces};

/// A call that is traced, while it runs.
pub(crate) struct TracedCall<'a> {
    traces: &'a Traces,
    trace: &'a TraceContext,
    task: TaskAttempt,
    began: SystemTime,
}

impl<'a> TracedCall<'a> {
    /// The call begins, if it is traced.
    pub(crate) fn begin(traces: Option<&'a Traces>, invocation: &'a Invocation) -> Option<Self> {
        let (traces, trace) = (traces?, invocation.trace.as_deref()?);
        Some(Self { traces, trace, task: invocation.task, began: SystemTime::now() })
    }

    /// The call has ended.
    pub(crate) fn end(self, slot: usize, outcome: &Outcome) {
        let ended = SystemTime::now();
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let run = Span {
            kind: Kind::Server,
            attributes: vec![
                Attribute::new("belljar.task_id", self.task.task_id.to_string()),
                Attribute::new("belljar.slot", number(slot as u64)),
                Attribute::new("belljar.cpu_us", number(outcome.cpu_us())),
                Attribute::new("belljar.peak_memory_bytes", number(outcome.peak_memory_bytes)),
            ],
            failure: outcome.verdict.failure().map(|failure| failure.message.clone()),
            ..Span::part(self.trace, attempt_span(self.task), "run", (self.began, ended))
        };
        let id = run.id;
        self.traces.export(run);
        for span in phases(self.trace, id, (self.began, ended), &outcome.phases) {
            self.traces.export(span);
        }
    }
}

/// The phases that the child has measured, one behind the other. The way there and back is taken to be of one length: only
/// its sum is known.
fn phases<'a>(
    trace: &'a TraceContext,
    run: SpanId,
    (began, ended): (SystemTime, SystemTime),
    phases: &Phases,
) -> Vec<Span<'a>> {
    let Phases { instance_us, decode_us, call_us, encode_us, .. } = *phases;
    let took = [
        ("instance", instance_us),
        ("decode", decode_us),
        ("call", call_us),
        ("encode", encode_us),
    ]
    .map(|(name, us)| (name, Duration::from_micros(us)));
    let inside: Duration = took.iter().map(|(_, took)| *took).sum();
    if inside.is_zero() {
        return Vec::new();
    }
    let ways = ended.duration_since(began).unwrap_or_default().saturating_sub(inside);
    let mut at = began + ways / 2;
    let mut spans = Vec::with_capacity(took.len());
    for (name, took) in took {
        // An interpreter stood by. The others happened, however short they were.
        if name == "instance" && took.is_zero() {
            continue;
        }
        spans.push(Span::part(trace, run, name, (at, at + took)));
        at += took;
    }
    spans
}

#[cfg(test)]
mod tests {
    use belljar_core::trace::TraceId;

    use super::*;

    #[test]
    fn phases_lie_within_the_run_in_their_order() {
        let state = String::new();
        let trace = TraceContext { trace_id: TraceId([1; 16]), span_id: SpanId([2; 8]), state };
        let began = SystemTime::UNIX_EPOCH;
        let us = |us| began + Duration::from_micros(us);
        let measured = Phases { decode_us: 80, encode_us: 10, ..Phases::default() };
        let spans = phases(&trace, SpanId([3; 8]), (began, us(100)), &measured);
        let times: Vec<_> = spans.iter().map(|span| (&*span.name, span.times)).collect();
        let expected =
            [("decode", (us(5), us(85))), ("call", (us(85), us(85))), ("encode", (us(85), us(95)))];
        assert_eq!(times, expected);
        assert!(spans.iter().all(|span| span.parent == Some(SpanId([3; 8]))));
        // Of a call that was stopped nothing is known.
        assert!(phases(&trace, SpanId([3; 8]), (began, us(100)), &Phases::default()).is_empty());
    }
}
