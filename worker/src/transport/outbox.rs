//! Reports and returned tasks until the dispatcher acknowledges them. Bounded by what the dispatcher
//! sends: while nothing is acknowledged over a lost connection, nothing new comes in either.

use std::collections::{BTreeMap, VecDeque};

use belljar_core::limits::{BATCH_BYTES, MAX_PAYLOAD_BYTES};
use belljar_core::message::FromWorker;
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome, Report};
use belljar_core::task::TaskAttempt;

/// What is sent until it is acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    reports: VecDeque<Report>,
    returned: Vec<TaskAttempt>,
    /// The number of the last batch.
    last: u64,
    batches: BTreeMap<u64, Batch>,
    /// Those of `batches` that were not sent on this connection, in order.
    unsent: VecDeque<u64>,
}

#[derive(Debug, Clone)]
enum Batch {
    Reports(Vec<Report>),
    Returned(Vec<TaskAttempt>),
}

impl Outbox {
    pub(crate) fn report(&mut self, mut report: Report) {
        let bytes = size(&report.outcome);
        if bytes > MAX_PAYLOAD_BYTES {
            let text = format!("the result of {bytes} bytes is too large to be sent");
            let failure = Failure::by_platform(FailureKind::Limit, text);
            report.outcome.verdict = CallVerdict::Failed(failure);
        }
        self.reports.push_back(report);
    }

    pub(crate) fn give_back(&mut self, task: TaskAttempt) {
        self.returned.push(task);
    }

    /// Whether everything was acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.returned.is_empty() && self.batches.is_empty()
    }

    /// Whether there is something to send.
    pub(crate) fn is_pressing(&self) -> bool {
        !(self.reports.is_empty() && self.returned.is_empty() && self.unsent.is_empty())
    }

    /// The next batch to send on this connection, and about how many bytes it has.
    pub(crate) fn next(&mut self) -> Option<(FromWorker, usize)> {
        if self.unsent.is_empty() {
            self.make_batches();
        }
        let sequence = self.unsent.pop_front()?;
        match self.batches.get(&sequence)?.clone() {
            Batch::Reports(reports) => {
                let bytes = reports.iter().map(|report| size(&report.outcome)).sum();
                Some((FromWorker::Reports { sequence, reports }, bytes))
            }
            Batch::Returned(tasks) => {
                let bytes = 32 * tasks.len();
                Some((FromWorker::Returned { sequence, tasks }, bytes))
            }
        }
    }

    fn make_batches(&mut self) {
        if !self.returned.is_empty() {
            let returned = Batch::Returned(std::mem::take(&mut self.returned));
            self.number(returned);
        }
        while !self.reports.is_empty() {
            let mut bytes = 0;
            let fits = self.reports.iter().take_while(|report| {
                bytes += size(&report.outcome);
                bytes <= BATCH_BYTES
            });
            // One that is too large for others goes alone.
            let count = fits.count().max(1);
            let reports = self.reports.drain(..count).collect();
            self.number(Batch::Reports(reports));
        }
    }

    fn number(&mut self, batches: Batch) {
        self.last += 1;
        self.batches.insert(self.last, batches);
        self.unsent.push_back(self.last);
    }

    pub(crate) fn acknowledge(&mut self, sequences: &[u64]) {
        sequences.iter().for_each(|sequence| {
            self.batches.remove(sequence);
        });
        self.unsent.retain(|sequence| self.batches.contains_key(sequence));
    }

    /// A new connection: everything is sent again.
    pub(crate) fn rewind(&mut self) {
        self.unsent = self.batches.keys().copied().collect();
    }

    /// The attempts that ended or were given back, and are not acknowledged.
    pub(crate) fn held(&self) -> Vec<TaskAttempt> {
        let of = |report: &Report| report.task;
        let mut held: Vec<_> = self.reports.iter().map(of).collect();
        held.extend(&self.returned);
        for batches in self.batches.values() {
            match batches {
                Batch::Reports(reports) => held.extend(reports.iter().map(of)),
                Batch::Returned(tasks) => held.extend(tasks),
            }
        }
        held
    }
}

/// About how many bytes an outcome takes in a message.
fn size(outcome: &Outcome) -> usize {
    let verdict = match &outcome.verdict {
        CallVerdict::Completed(value) => value.len(),
        CallVerdict::Failed(failure) => {
            failure.exception.len() + failure.message.len() + failure.traceback.len()
        }
        CallVerdict::CompletedInFile(_) | CallVerdict::Cancelled => 0,
    };
    let files: usize = outcome.files.iter().map(|file| 64 + file.bytes.len()).sum();
    128 + verdict + outcome.stdout.bytes.len() + outcome.stderr.bytes.len() + files
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use belljar_core::id::TaskId;
    use belljar_core::task::Attempt;
    use bytes::Bytes;

    use super::*;

    fn report(bytes: usize) -> Report {
        let value = CallVerdict::Completed(Bytes::from(vec![0; bytes]));
        let outcome = Outcome::bare(value, Duration::ZERO);
        let task = TaskAttempt { task_id: TaskId::random(), attempt: Attempt(1) };
        Report { task, outcome }
    }

    fn sequences(outbox: &mut Outbox) -> Vec<u64> {
        let sequence = |(message, _)| match message {
            FromWorker::Reports { sequence, .. } | FromWorker::Returned { sequence, .. } => {
                sequence
            }
            other => panic!("{other:?}"),
        };
        std::iter::from_fn(|| outbox.next()).map(sequence).collect()
    }

    #[test]
    fn everything_is_sent_again_until_it_is_acknowledged() {
        let mut outbox = Outbox::default();
        let task = TaskAttempt { task_id: TaskId::random(), attempt: Attempt(3) };
        outbox.report(report(1));
        outbox.give_back(task);
        assert_eq!(sequences(&mut outbox), [1, 2]);
        assert!(!outbox.is_pressing() && !outbox.is_empty());
        outbox.report(report(1));
        assert_eq!(outbox.held().len(), 3);
        outbox.rewind();
        assert_eq!(sequences(&mut outbox), [1, 2, 3]);
        outbox.acknowledge(&[1, 3, 9]);
        outbox.rewind();
        assert_eq!(sequences(&mut outbox), [2]);
        outbox.acknowledge(&[2]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn large_results_go_in_several_messages_and_huge_ones_fail() {
        let mut outbox = Outbox::default();
        (0..3).for_each(|_| outbox.report(report(10 << 20)));
        outbox.report(report(64 << 20));
        assert_eq!(sequences(&mut outbox).len(), 3);
        let Batch::Reports(last) = &outbox.batches[&3] else { panic!("reports") };
        let kind = |report: &Report| match &report.outcome.verdict {
            CallVerdict::Failed(failure) => Some(failure.kind),
            _ => None,
        };
        assert_eq!(last.last().and_then(kind), Some(FailureKind::Limit));
    }
}
