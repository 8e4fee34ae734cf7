//! Ways to put load on a service, each of which checks every result.
//!
//! # Layout
//!
//! * [`one_at_a_time`]: the next call when the last has answered. * [`closed`]: so many clients that do
//!   so, side by side. * [`burst`]: all at once. * [`open`]: at a rate, whether answers come or not.

mod burst;
mod closed;
mod open;

use std::time::Instant;

use anyhow::Result;

pub(crate) use burst::{burst, collect};
pub(crate) use closed::closed;
pub(crate) use open::{Arrivals, open};

use crate::api::Client;
use crate::python::Call;

/// What a load has found.
#[derive(Debug, Default)]
pub(crate) struct Timed {
    /// From the first submission to the last answer.
    pub(crate) seconds: f64,
    /// From each task's submission to its answer, in milliseconds.
    pub(crate) latencies_ms: Vec<f64>,
    /// How many tasks there were.
    pub(crate) total: usize,
    /// What was wrong with those that ended otherwise than they must.
    pub(crate) wrong: Vec<String>,
}

impl Timed {
    /// Takes the end of one task.
    fn take(&mut self, submitted: Instant, checked: Result<(), String>) {
        self.total += 1;
        match checked {
            Ok(()) => self.latencies_ms.push(submitted.elapsed().as_secs_f64() * 1e3),
            Err(wrong) => self.wrong.push(wrong),
        }
    }

    /// Tasks a second.
    pub(crate) fn rate(&self) -> f64 {
        self.total as f64 / self.seconds
    }

    /// The part of the tasks that ended as they must.
    pub(crate) fn success(&self) -> f64 {
        1.0 - self.wrong.len() as f64 / self.total.max(1) as f64
    }
}

/// Submits a call, waits for its result, and only then goes on.
pub(crate) async fn one_at_a_time(
    client: &mut Client,
    function_id: &str,
    calls: &[Call],
) -> Result<Timed> {
    in_turn(calls, async |call| {
        let (_, checked) = client.call(function_id, &call.args, &call.expected).await?;
        Ok(checked)
    })
    .await
}

/// The same by the classic pair of requests: submit, then ask for the result.
pub(crate) async fn one_at_a_time_in_two(
    client: &mut Client,
    function_id: &str,
    calls: &[Call],
) -> Result<Timed> {
    in_turn(calls, async |call| client.call_in_two(function_id, &call.args, &call.expected).await)
        .await
}

async fn in_turn(
    calls: &[Call],
    mut ask: impl AsyncFnMut(&Call) -> Result<Result<(), String>>,
) -> Result<Timed> {
    let mut timed = Timed::default();
    let begun = Instant::now();
    for call in calls {
        let submitted = Instant::now();
        let checked = ask(call).await?;
        timed.take(submitted, checked);
    }
    timed.seconds = begun.elapsed().as_secs_f64();
    Ok(timed)
}
