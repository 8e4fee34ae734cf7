//! The one executor: a child process, native or sandboxed, that answers one call at a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use belljar_core::frame::{self, Call, Done, FrameError, Granted, Raised, Reply};
use belljar_core::grants::Offers;
use belljar_core::invocation::{Function, Invocation};
use belljar_core::outcome::{Failure, FailureKind, Outcome, Verdict};
use belljar_core::task::CodeHash;
use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Executor;
use super::deadline::Deadline;
use super::supply::Supply;
use crate::child::output::Output;
use crate::child::{Child, Lost};
use crate::error::ExecutorBroken;

/// Calls after which a child is replaced, for whatever collects in it.
const CALLS_PER_CHILD: u64 = 100_000;
/// How many functions a child remembers before it is told to forget them.
const REMEMBERED_FUNCTIONS: usize = 512;
/// And how many bytes of them.
const REMEMBERED_BYTES: usize = 64 << 20;

/// An executor over the children of one class.
#[derive(Debug)]
pub(crate) struct ProcessExecutor {
    supply: Supply,
    offers: Arc<Offers>,
    child: Option<Child>,
    sent: Sent,
    calls: u64,
    timer: Deadline,
}

/// How an exchange with a child went.
enum Exchange {
    Replied(Result<Reply, Lost>),
    DeadlinePassed,
    Cancelled,
}

impl ProcessExecutor {
    /// An executor that takes its children from `supply`, the first when it is first needed.
    pub(crate) fn new(supply: Supply, offers: Arc<Offers>) -> Self {
        let (sent, timer) = (Sent::default(), Deadline::default());
        Self { supply, offers, child: None, sent, calls: 0, timer }
    }

    /// What the child is sent, unless the call asks for what is not offered here or is too long.
    fn request(&mut self, invocation: &Invocation) -> Result<Vec<u8>, Failure> {
        let granted = invocation.grants.as_deref().map(|asked| self.offers.grant(asked));
        let granted = granted
            .transpose()
            .map_err(|denied| Failure::by_platform(FailureKind::Denied, denied.to_string()))?;
        frame::encode(&self.sent.call(invocation, granted.map(Box::new)))
            .map_err(|error| Failure::by_platform(FailureKind::Limit, error.to_string()))
    }

    /// Takes a child ahead of the first call.
    pub(crate) async fn warm_up(&mut self) -> Result<(), ExecutorBroken> {
        if self.child.as_ref().is_some_and(Child::is_stale) {
            // It died while idle, of no call's doing; dropping it sees to what is left of it.
            self.child = None;
        }
        if self.child.is_none() {
            self.child = Some(self.supply.take().await?);
            self.sent = Sent::default();
            self.calls = 0;
        }
        Ok(())
    }
}

impl Executor for ProcessExecutor {
    async fn execute(
        &mut self,
        invocation: &Invocation,
        cancel: &CancellationToken,
    ) -> Result<Outcome, ExecutorBroken> {
        match cancel.run_until_cancelled(self.warm_up()).await {
            Some(ready) => ready?,
            None => return Ok(Outcome::bare(Verdict::Cancelled, Duration::ZERO)),
        }
        let Some(mut child) = self.child.take() else {
            return Err(ExecutorBroken { reason: "the child is gone".to_owned() });
        };
        self.calls += 1;
        let started = Instant::now();
        let frame = match self.request(invocation) {
            Ok(frame) => frame,
            Err(failure) => {
                self.child = Some(child);
                return Ok(Outcome::bare(Verdict::Failed(failure), started.elapsed()));
            }
        };
        let deadline = self.timer.passed(started + invocation.limits.timeout());
        let exchange = exchange(&mut child, &frame, deadline, cancel);
        let mut outcome = match exchange.await {
            Exchange::Replied(Ok(Reply::Done(done))) => {
                let output = child.take_output();
                if done.left_behind.is_none() && self.calls < CALLS_PER_CHILD {
                    self.child = Some(child);
                } else {
                    let reason = done.left_behind.as_deref().unwrap_or("its age");
                    tracing::debug!(task_id = %invocation.task_id, reason, "child replaced");
                    drop(child);
                }
                outcome_of(done, output)
            }
            Exchange::Replied(Ok(Reply::Ready(_))) => {
                let problem = "the executor broke its protocol: ";
                died(&mut child, problem).await
            }
            Exchange::Replied(Err(Lost::Protocol(error))) => {
                died(&mut child, &explain(&error)).await
            }
            Exchange::Replied(Err(Lost::Closed | Lost::Socket(_))) => {
                died(&mut child, "the process that ran the call died: ").await
            }
            Exchange::DeadlinePassed => {
                let limit = invocation.limits.timeout();
                let text = format!("the call was stopped at its time limit of {limit:?}");
                let failure = Failure::by_platform(FailureKind::Timeout, text);
                stopped(&mut child, Verdict::Failed(failure)).await
            }
            Exchange::Cancelled => stopped(&mut child, Verdict::Cancelled).await,
        };
        outcome.elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(outcome)
    }

    async fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.end().await;
        }
    }
}

/// Sends the call and waits for its end, one way or another.
async fn exchange(
    child: &mut Child,
    frame: &[u8],
    deadline: impl Future<Output = ()>,
    cancel: &CancellationToken,
) -> Exchange {
    let (link, streams) = child.parts();
    let wait = async {
        tokio::select! {
            biased;
            reply = link.exchange(frame) => Exchange::Replied(reply),
            () = deadline => Exchange::DeadlinePassed,
            () = cancel.cancelled() => Exchange::Cancelled,
        }
    };
    streams.while_pumping(wait).await
}

fn explain(error: &FrameError) -> String {
    format!("the executor broke its protocol ({error}): ")
}

/// The outcome of a call under which the child died.
async fn died(child: &mut Child, problem: &str) -> Outcome {
    let death = child.end_by_itself().await;
    let output = child.take_output();
    let text = format!("{problem}{}", death.describe(&output));
    let verdict = Verdict::Failed(Failure::by_platform(FailureKind::ExecutorDied, text));
    with_output(verdict, output, death.peak_memory_bytes)
}

/// The outcome of a call that was cut, once its code has stopped.
async fn stopped(child: &mut Child, verdict: Verdict) -> Outcome {
    let death = child.end().await;
    let output = child.take_output();
    with_output(verdict, output, death.peak_memory_bytes)
}

fn with_output(verdict: Verdict, output: Output, peak_memory_bytes: u64) -> Outcome {
    let Output { stdout, stderr } = output;
    Outcome { stdout, stderr, peak_memory_bytes, ..Outcome::bare(verdict, Duration::ZERO) }
}

fn outcome_of(done: Done, output: Output) -> Outcome {
    let verdict = match done.result {
        Ok(pickle) => Verdict::Completed(pickle),
        Err(Raised { kind, exception, message, traceback }) => {
            Verdict::Failed(Failure { kind, exception, message, traceback })
        }
    };
    Outcome { phases: done.phases, ..with_output(verdict, output, done.peak_memory_bytes) }
}

/// The functions that the child has been sent.
#[derive(Debug, Default)]
struct Sent {
    hashes: HashSet<CodeHash>,
    bytes: usize,
}

impl Sent {
    /// The call for an invocation, with the function's bytes where the child lacks them.
    fn call(&mut self, invocation: &Invocation, granted: Option<Box<Granted>>) -> Call {
        let Invocation { limits, function: Function { hash, code }, args, .. } = invocation;
        let mut call = Call {
            hash: *hash,
            code: None,
            forget: false,
            args: Bytes::clone(args),
            memory_mb: limits.memory_mb,
            granted,
        };
        if !self.hashes.contains(hash) {
            call.forget = !self.hashes.is_empty()
                && (self.hashes.len() >= REMEMBERED_FUNCTIONS
                    || self.bytes + code.len() > REMEMBERED_BYTES);
            if call.forget {
                *self = Self::default();
            }
            self.hashes.insert(*hash);
            self.bytes += code.len();
            call.code = Some(Bytes::clone(code));
        }
        call
    }
}

#[cfg(test)]
mod tests {
    use belljar_core::id::TaskId;
    use belljar_core::task::{Attempt, Limits};

    use super::*;

    #[test]
    fn code_is_sent_once_until_it_is_forgotten() {
        let invocation = |code: &'static [u8]| Invocation {
            task_id: TaskId::random(),
            attempt: Attempt(1),
            class: "native:3.11".parse().expect("a class"),
            limits: Limits::DEFAULT,
            function: Function { hash: CodeHash::of(code), code: Bytes::from_static(code) },
            args: Bytes::new(),
            grants: None,
        };
        let mut sent = Sent::default();
        assert!(sent.call(&invocation(b"a"), None).code.is_some());
        assert!(sent.call(&invocation(b"a"), None).code.is_none());
        sent.bytes = REMEMBERED_BYTES;
        let call = sent.call(&invocation(b"b"), None);
        assert!(call.forget && call.code.is_some());
        assert!(sent.call(&invocation(b"a"), None).code.is_some());
    }
}
