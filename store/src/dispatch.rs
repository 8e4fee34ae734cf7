//! Opening and settling attempts, for dispatchers.

use std::borrow::Cow;
use std::iter::zip;
use std::time::Duration;

use belljar_core::args;
use belljar_core::id::{DispatcherId, SessionId, TaskId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome, Report};
use belljar_core::task::{Attempt, TaskAttempt};
use bytes::Bytes;

use crate::Store;
use crate::blob::{Blob, is_blob};
use crate::blob_name::BlobName;
use crate::blobs::Blobs;
use crate::error::StoreError;
use crate::kind;
use crate::record::{
    ClaimedTask, Completion, Demand, Leased, RequeueReason, Requeued, Settled, UnreadArgs,
};
use crate::reply::{parse_id, unexpected};
use crate::result_files;
use crate::task_record::{self, Body, StoredTask};

/// How many attempts one script call settles: enough that calls cost little, few enough that a call
/// does not keep others waiting.
const SETTLED_AT_ONCE: usize = 500;

/// How many due delayed tasks a claim queues first.
const DUE_AT_ONCE: u64 = 1000;

impl Store {
    /// Opens attempts at queued tasks: for each demand up to its count. The tenant that runs least of a class for its
    /// weight goes first; within a tenant requeued tasks, then by priority; a tenant that waits alone has
    /// its classes served in their order. Where fewer were there, the dispatcher is woken
    /// ([`crate::StoreEvent::Work`]) when more come. A task whose record cannot be read ends as
    /// failed: it would come back with every claim. Arguments in a bucket are still to be read ([`Store::read_args`]).
    ///
    /// # Errors
    /// Redis does not answer or refuses. The answer may have been lost after attempts were opened: see
    /// [`Store::leased`].
    pub async fn claim(
        &self,
        dispatcher: DispatcherId,
        demands: &[Demand],
    ) -> Result<Vec<ClaimedTask>, StoreError> {
        loop {
            let (tasks, unreadable) = self.open_attempts(dispatcher, demands).await?;
            if unreadable.is_empty() {
                return Ok(tasks);
            }
            self.complete(dispatcher, 0, &unreadable).await?;
            // An empty answer would say that the queue is empty.
            if !tasks.is_empty() {
                return Ok(tasks);
            }
        }
    }

    /// Opens attempts; the tasks, and the ends of those whose records cannot be read.
    async fn open_attempts(
        &self,
        dispatcher: DispatcherId,
        demands: &[Demand],
    ) -> Result<(Vec<ClaimedTask>, Vec<Completion>), StoreError> {
        let mut call =
            self.inner.scripts.claim.call(2 + 5 * demands.len(), 64 * (1 + demands.len()));
        call.arg(dispatcher.to_string()).number(DUE_AT_ONCE);
        for demand in demands {
            call.number(demand.count as u64).number(demand.reserved as u64);
            call.number(demand.classes.len() as u64);
            for class in &demand.classes {
                call.arg(class.to_string());
            }
        }
        let rows: Vec<(String, u32, u32, Bytes, Bytes)> = call.run(self).await?;
        let (mut blobs, mut unreadable) = (Vec::new(), Vec::new());
        let mut tasks = Vec::with_capacity(rows.len());
        let mut sessions = Vec::new();
        for (id, attempt, deaths, record, args) in rows {
            let id = parse_id(&id)?;
            let task = TaskAttempt { task_id: id, attempt: Attempt(attempt) };
            let (record, accepted_at, body) = match StoredTask::read(id, record)
                .and_then(|record| record.accepted(id).map(|(at, body)| (record, at, body)))
            {
                Ok(read) => read,
                Err(error) => {
                    unreadable.push(without_record(task, &error));
                    continue;
                }
            };
            let (session, is_blob) = (record.session(), record.has_args_blob());
            let is_apart = matches!(self.inner.blobs, Some(Blobs::Bucket(_)))
                && (is_blob || args::is_list(&args));
            let unread = is_apart.then_some(UnreadArgs { is_blob, session });
            if !is_apart {
                sessions.extend(session.map(|session| (id, session)));
            }
            if is_blob && !is_apart {
                let of_session = session.is_some();
                blobs.push((tasks.len(), (self.inner.keys.args_blob(id), of_session)));
            }
            let due_at = body.due_at(accepted_at);
            let Body { spec, trace, .. } = body;
            let invocation = Invocation { task, spec, code: None, args, trace };
            let tenant = record.tenant(id).unwrap_or_default();
            tasks.push(ClaimedTask { invocation, tenant, deaths, due_at, unread });
        }
        let mut without_args = self.complete_args(&mut tasks, blobs, &sessions).await?;
        without_args.sort_by_key(|(place, _)| *place);
        // From behind, so that the places before stay what they are.
        for (place, error) in without_args.into_iter().rev() {
            let task = tasks.remove(place).task();
            unreadable.push(without_record(task, &error));
        }
        Ok((tasks, unreadable))
    }

    /// The arguments of a task that was claimed without them; or how it ends, where they cannot be had.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn read_args(&self, task: &ClaimedTask) -> Result<Result<Bytes, Report>, StoreError> {
        let UnreadArgs { is_blob, session } = match task.unread {
            Some(unread) => unread,
            None => return Ok(Ok(task.invocation.args.clone())),
        };
        let mut one = [ClaimedTask { unread: None, ..task.clone() }];
        let key = is_blob.then(|| (0, (self.inner.keys.args_blob(task.id()), session.is_some())));
        let sessions: Vec<_> = session.map(|session| (task.id(), session)).into_iter().collect();
        let lost = self.complete_args(&mut one, key.into_iter().collect(), &sessions).await?;
        let [one] = one;
        Ok(match lost.first() {
            Some((_, error)) => Err(without_record(task.task(), error).report),
            None => Ok(one.invocation.args),
        })
    }

    /// Adds to tasks what their arguments lack: blobs, as [`Store::read_blobs`] has them, parts elsewhere, and the states of
    /// sessions. Returns the places of those that cannot be had.
    async fn complete_args(
        &self,
        tasks: &mut [ClaimedTask],
        blobs: Vec<(usize, (String, bool))>,
        sessions: &[(TaskId, SessionId)],
    ) -> Result<Vec<(usize, StoreError)>, StoreError> {
        let mut without_args = Vec::new();
        let named_from = self.named_from();
        self.read_blobs(tasks, blobs, named_from, &mut without_args).await?;
        self.put_args_together(tasks, sessions, named_from, &mut without_args).await;
        if !sessions.is_empty() {
            self.resume_sessions(tasks, sessions, &mut without_args).await?;
        }
        Ok(without_args)
    }

    /// Reads arguments that are blobs: of which tasks, their keys, and whether a session's state goes in front of them. Those from `named_from`
    /// bytes on are named.
    async fn read_blobs(
        &self,
        tasks: &mut [ClaimedTask],
        blobs: Vec<(usize, (String, bool))>,
        named_from: Option<u64>,
        without_args: &mut Vec<(usize, StoreError)>,
    ) -> Result<(), StoreError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let (of_sessions, others): (Vec<_>, Vec<_>) =
            blobs.into_iter().partition(|(_, (_, of_session))| *of_session);
        let split = |blobs: Vec<(usize, (String, bool))>| -> (Vec<_>, Vec<_>) {
            blobs.into_iter().map(|(place, (key, _))| (place, key)).unzip()
        };
        let ((mut places, keys), (more, whole)) = (split(others), split(of_sessions));
        let mut found = self.get_args("claim", keys, named_from).await?;
        found.extend(self.get_blobs("claim", whole).await?);
        places.extend(more);
        for (place, args) in zip(places, found) {
            if let Some(Blobs::Directory(files)) = &self.inner.blobs {
                files.claimed(tasks[place].id(), 0);
            }
            match args {
                Blob::Here(args) => tasks[place].invocation.args = args,
                // The task has ended meanwhile; this attempt is stale then.
                Blob::Gone => {}
                Blob::Lost(why) => {
                    let what = format!("the arguments of task {}", tasks[place].id());
                    without_args.push((place, self.unread(&what, why)));
                }
            }
        }
        Ok(())
    }

    /// Puts arguments together that have parts elsewhere.
    async fn put_args_together(
        &self,
        tasks: &mut [ClaimedTask],
        sessions: &[(TaskId, SessionId)],
        named_from: Option<u64>,
        without_args: &mut Vec<(usize, StoreError)>,
    ) {
        for (place, task) in tasks.iter_mut().enumerate() {
            if task.unread.is_some() || !args::is_list(&task.invocation.args) {
                continue;
            }
            let args = std::mem::take(&mut task.invocation.args);
            // Those of a session travel with its state.
            let may_name = !sessions.iter().any(|(id, _)| *id == task.id());
            match self.whole_args(task.id(), args, may_name, named_from).await {
                Ok(args) => task.invocation.args = args,
                Err(error) => without_args.push((place, error)),
            }
        }
    }

    /// Whether recording this end waits for a bucket, which may not answer.
    #[must_use]
    pub fn needs_bucket(&self, end: &Completion) -> bool {
        let Report { outcome, .. } = &end.report;
        matches!(self.inner.blobs, Some(Blobs::Bucket(_)))
            && (matches!(outcome.verdict, CallVerdict::CompletedInFile(_))
                || is_blob(&outcome.verdict.pickle())
                || outcome.files.iter().any(|file| is_blob(&file.bytes)))
    }

    /// Publishes results, each under its fence; answers in the same order. An attempt that
    /// already ended in the same way is accepted again. `freed` is how many places became free at
    /// `dispatcher` since its last claim or completion: they are added to its pending demand.
    ///
    /// # Errors
    /// Redis does not answer or refuses. Repeat it: what was accepted stays accepted.
    pub async fn complete(
        &self,
        dispatcher: DispatcherId,
        freed: usize,
        finished: &[Completion],
    ) -> Result<Vec<Settled>, StoreError> {
        let mut settled = Vec::with_capacity(finished.len());
        let mut freed = freed as u64;
        for part in finished.chunks(SETTLED_AT_ONCE) {
            let (part, states) = self.put_states(part).await?;
            let part = &*self.put_files_of(&part).await?;
            let part = &*self.take_result_files(part).await?;
            let kinds = kind::of_results(part, self.inner.blobs.as_ref()).await;
            let mut rows: Vec<_> = zip(part, kinds)
                .map(|(one, kind)| {
                    task_record::encode_outcome(Some(one.worker), &one.report.outcome, kind)
                })
                .collect();
            self.put_results(part, &mut rows).await?;
            result_files::name_in(part, &mut rows);
            let bytes = rows.iter().map(|(_, outcome, result)| 64 + outcome.len() + result.len());
            let mut call = self.inner.scripts.complete.call(4 + 5 * part.len(), bytes.sum());
            call.number(self.result_ttl_ms()).arg(&*self.inner.cancelled_outcome);
            call.arg(dispatcher.to_string()).number(std::mem::take(&mut freed));
            for (index, (one, (letter, outcome, result))) in zip(part, &rows).enumerate() {
                let TaskAttempt { task_id, attempt } = one.report.task;
                call.arg(task_id.to_string()).arg(fence(attempt));
                let outcome_of = &one.report.outcome;
                let (cpu_us, memory) = (outcome_of.cpu_us(), outcome_of.memory_mb_ms());
                let files: usize = outcome_of.files.iter().map(|file| file.bytes.len()).sum();
                let state = if states.get(index) == Some(&true) { "~" } else { "" };
                call.arg(format!("{letter}{cpu_us} {memory} {files}{state}"));
                call.arg(outcome).arg(result);
            }
            let answers = read_letters("complete", call.run(self).await?, part.len())?;
            let ended = zip(part, &answers).filter(|(_, answer)| **answer != Settled::Stale);
            let ended = ended.map(|(one, _)| one.report.task.task_id);
            match &self.inner.blobs {
                Some(Blobs::Directory(files)) => files.ended(ended),
                Some(Blobs::Bucket(bucket)) => self.let_go(bucket.ended(ended)),
                None => {}
            }
            settled.extend(answers);
        }
        Ok(settled)
    }

    /// Writes the files that attempts left. Those for which the server has no memory fail, since what ended cannot wait.
    async fn put_files_of<'a>(
        &self,
        part: &'a [Completion],
    ) -> Result<Cow<'a, [Completion]>, StoreError> {
        let has_files = |one: &Completion| !one.report.outcome.files.is_empty();
        if !part.iter().any(has_files) {
            return Ok(Cow::Borrowed(part));
        }
        let files_of = |one: &'a Completion| {
            let task = one.report.task;
            let files = one.report.outcome.files.iter().enumerate();
            files.map(move |(index, file)| (BlobName::Left(task, index), &file.bytes))
        };
        let files: Vec<_> = part.iter().flat_map(files_of).collect();
        match self.put_left(files).await {
            Ok(()) => Ok(Cow::Borrowed(part)),
            Err(StoreError::RefusesWrites(..)) => {
                let mut part = part.to_vec();
                for one in part.iter_mut().filter(|one| has_files(one)) {
                    one.report.outcome.files.clear();
                    let text =
                        "the files that the call left cannot be kept: the memory of Redis is full";
                    let failure = Failure::by_platform(FailureKind::Limit, text.into());
                    one.report.outcome.verdict = CallVerdict::Failed(failure);
                }
                Ok(Cow::Owned(part))
            }
            Err(error) => Err(error),
        }
    }

    /// Writes blobs; each row then has the length of its blob, and its letter in lower case. Where the
    /// server's memory is full, it refuses writes outside of scripts: the script gets the results then, as
    /// ended tasks make room.
    async fn put_results(
        &self,
        part: &[Completion],
        rows: &mut [(&'static str, Vec<u8>, Bytes)],
    ) -> Result<(), StoreError> {
        let blobs = zip(part, rows.iter()).filter(|(_, (.., result))| is_blob(result));
        let values = blobs.map(|(one, (.., result))| (BlobName::Result(one.report.task), result));
        match self.put_blobs("complete", values).await {
            Ok(()) => {}
            Err(StoreError::RefusesWrites(..)) => return Ok(()),
            Err(error) => return Err(error),
        }
        for (letter, _, result) in rows.iter_mut().filter(|(.., result)| is_blob(result)) {
            *letter = if *letter == "C" { "c" } else { "f" };
            *result = result.len().to_string().into();
        }
        Ok(())
    }

    /// Queues returned attempts again, each under its fence, at the front of their tenant's queue.
    ///
    /// # Errors
    /// Redis does not answer or refuses. Repeat it: what was taken back answers [`Settled::Stale`] then.
    pub async fn requeue(&self, requeued: &[Requeued]) -> Result<Vec<Settled>, StoreError> {
        let mut settled = Vec::with_capacity(requeued.len());
        for part in requeued.chunks(SETTLED_AT_ONCE) {
            let mut call = self.inner.scripts.requeue.call(2 + 4 * part.len(), 128 * part.len());
            call.number(self.result_ttl_ms()).arg(&*self.inner.cancelled_outcome);
            for one in part {
                call.arg(one.task.task_id.to_string()).arg(fence(one.task.attempt));
                match &one.reason {
                    RequeueReason::Unstarted => call.arg("U").arg(""),
                    RequeueReason::Died(text) => call.arg("D").arg(task_record::evidence(text)),
                };
            }
            settled.extend(read_letters("requeue", call.run(self).await?, part.len())?);
        }
        Ok(settled)
    }

    /// The attempts that are leased to the dispatcher. After each
    /// [`crate::StoreEvent::Connected`], and after a [`Store::claim`] that failed (its answer may have been
    /// lost on the way), requeue those that it does not know, and stop those that a client
    /// cancelled meanwhile.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn leased(&self, dispatcher: DispatcherId) -> Result<Vec<Leased>, StoreError> {
        let mut call = self.inner.scripts.leased.call(1, 36);
        let rows: Vec<(String, u32, String)> = call.arg(dispatcher.to_string()).run(self).await?;
        let leased = rows.into_iter().map(|(id, attempt, flag)| {
            let task = TaskAttempt { task_id: parse_id(&id)?, attempt: Attempt(attempt) };
            Ok(Leased { task, cancelling: flag == "X" })
        });
        leased.collect()
    }
}

/// The end of a task that nobody can run.
fn without_record(task: TaskAttempt, error: &StoreError) -> Completion {
    tracing::warn!(task_id = %task.task_id, %error, "a task ends as failed");
    let failure = Failure::by_platform(FailureKind::Limit, error.to_string());
    let outcome = Outcome::bare(CallVerdict::Failed(failure), Duration::ZERO);
    Completion { worker: WorkerId::from_bytes([0; 16]), report: Report { task, outcome } }
}

/// An attempt's number as the attempt state has it.
fn fence(attempt: Attempt) -> String {
    format!(" {attempt} ")
}

fn read_letters(what: &'static str, letters: Bytes, n: usize) -> Result<Vec<Settled>, StoreError> {
    let settled = letters.iter().map(|letter| match letter {
        b'A' => Ok(Settled::Accepted),
        b'C' => Ok(Settled::Cancelled),
        b'S' => Ok(Settled::Stale),
        _ => Err(unexpected(what)),
    });
    let settled: Vec<_> = settled.collect::<Result<_, _>>()?;
    if settled.len() == n { Ok(settled) } else { Err(unexpected(what)) }
}
