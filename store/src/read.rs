//! Reading tasks.

use std::iter::zip;

use belljar_core::id::TaskId;
use belljar_core::task::{TaskAttempt, TaskStatus};
use belljar_core::tenant::Tenant;
use bytes::Bytes;
use futures_util::future::try_join_all;
use redis::Value;

use crate::Store;
use crate::blob::Blob;
use crate::config::RECENT_TASKS;
use crate::error::StoreError;
use crate::live::read_progress;
use crate::record::{
    Page, TaskEnd, TaskFilter, TaskRecord, TaskResult, TaskSummary, UnreadableRecord,
};
use crate::reply::{self, parse_id};
use crate::task_record::{Attempts, StoredTask};

/// How many tasks one script call looks up.
const READ_AT_ONCE: usize = 1000;

/// How many tasks of a list one script call reads: their records are read one by one.
const LISTED_AT_ONCE: usize = 128;

/// How many tasks are read at most for one page, for those that match its filter.
const SCANNED_AT_MOST: usize = 5000;

/// How much of a record a list reads: all but the result of an ended task fits in it, unless the call wrote much or
/// has a long traceback.
const RECORD_HEAD_BYTES: u64 = 2048;

impl Store {
    /// Status and result of each; `None` for an unknown id.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn results(&self, ids: &[TaskId]) -> Result<Vec<Option<TaskResult>>, StoreError> {
        self.results_within(ids, u64::MAX).await
    }

    /// Status and result of each; `None` for an unknown id. Blobs are read as long as they fit into `room`
    /// bytes; others are left unread ([`TaskResult::unread_bytes`]), and those of several in a bucket that is away ([`TaskResult::is_away`]).
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn results_within(
        &self,
        ids: &[TaskId],
        room: u64,
    ) -> Result<Vec<Option<TaskResult>>, StoreError> {
        self.results_of(None, ids, room).await
    }

    /// The same for the tasks of one tenant, where it is given: others are unknown.
    pub(crate) async fn results_of(
        &self,
        tenant: Option<&Tenant>,
        ids: &[TaskId],
        mut room: u64,
    ) -> Result<Vec<Option<TaskResult>>, StoreError> {
        let mut results = Vec::with_capacity(ids.len());
        for part in ids.chunks(READ_AT_ONCE) {
            let mut call = self.inner.scripts.results.call(part.len(), 48 * part.len());
            for id in part {
                call.arg(id.to_string());
            }
            let answers: Vec<Option<Bytes>> = call.run(self).await?;
            let (mut places, mut keys) = (Vec::new(), Vec::new());
            for (id, answer) in part.iter().zip(answers) {
                let read =
                    answer.map(|answer| task_result(*id, tenant, answer)).transpose()?.flatten();
                if let Some(TaskResult { unread_bytes: blob @ 1.., .. }) = read
                    && let Some(left) = room.checked_sub(blob)
                {
                    room = left;
                    places.push(results.len());
                    keys.push(self.inner.keys.result_blob(*id));
                }
                results.push(read);
            }
            let offset = results.len() - part.len();
            for (place, result) in zip(places, self.get_blobs("results", keys).await?) {
                match (result, &mut results[place]) {
                    (Blob::Here(result), Some(known)) => {
                        known.result = result;
                        known.unread_bytes = 0;
                    }
                    (Blob::Lost(why), Some(known)) => {
                        let what = format!("the result of task {}", part[place - offset]);
                        match self.unread(&what, why) {
                            StoreError::BucketAway { .. } if ids.len() > 1 => known.is_away = true,
                            error => return Err(error),
                        }
                    }
                    // Its record and it expire together: where it is gone, so is the task.
                    (_, gone) => *gone = None,
                }
            }
        }
        Ok(results)
    }

    /// A part of a result that was left unread: `length` bytes from `start` on, fewer at its end. `None` once
    /// the task is forgotten. Ask only for what was left unread: this does not ask whose task it is.
    ///
    /// # Errors
    /// Redis cannot be had.
    pub async fn result_part(
        &self,
        id: TaskId,
        start: u64,
        length: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        self.part("result_part", self.inner.keys.result_blob(id), start, length).await
    }

    /// A part of the file `index` of those that an ended task left: `length` bytes from `start` on, fewer at its
    /// end. `None` once the task is forgotten. `task` has the number of its last attempt.
    ///
    /// # Errors
    /// Redis cannot be had.
    pub async fn file_part(
        &self,
        task: TaskAttempt,
        index: usize,
        start: u64,
        length: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        self.part("file_part", self.inner.keys.file(task, index), start, length).await
    }

    async fn part(
        &self,
        what: &'static str,
        key: String,
        start: u64,
        length: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        let part = self.blob_part(what, key, (start, length)).await?;
        Ok(Some(part).filter(|part| !part.is_empty()))
    }

    /// The whole record.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn task(&self, id: TaskId) -> Result<Option<TaskRecord>, StoreError> {
        let (record, state, progress): (Option<Bytes>, Option<Bytes>, Option<Bytes>) =
            self.inner.scripts.task.call(1, 36).arg(id.to_string()).run(self).await?;
        let Some(record) = record else { return Ok(None) };
        let record = StoredTask::read(id, record)?;
        let (accepted_at, body) = record.accepted(id)?;
        let state = if record.end.is_some() { record.state() } else { state.unwrap_or_default() };
        let attempts = Attempts::read(id, &state)?;
        let end = record.end.as_ref();
        let (worker, outcome, kind, files) = match record.outcome(id)? {
            Some(stored) => (stored.worker, Some(stored.outcome), stored.kind, stored.files),
            None => (None, None, None, Vec::new()),
        };
        let status = status(&record, attempts.open);
        let was_opened = attempts.open || end.is_some();
        let due_at = (body.delay_ms > 0).then(|| body.due_at(accepted_at));
        Ok(Some(TaskRecord {
            id,
            tenant: record.tenant(id)?,
            session: record.session(),
            trace_id: body.trace.map(|trace| trace.trace_id),
            spec: body.spec,
            status,
            attempts: attempts.opened,
            deaths: attempts.deaths,
            accepted_at,
            due_at,
            started_at: attempts.started_at.filter(|_| was_opened),
            finished_at: end.map(|end| end.finished_at),
            expires_at: end.map(|end| end.expires_at),
            dispatcher: attempts.dispatcher.filter(|_| was_opened),
            worker,
            outcome,
            kind,
            files,
            failures: attempts.failures,
            progress: read_progress(progress.as_ref(), attempts.opened),
            args_bytes: body.args_bytes,
            result_bytes: record.result_bytes(),
        }))
    }

    /// Tasks of the default tenant, newest first, among the newest [`RECENT_TASKS`]. A page may hold fewer than `limit`
    /// though more follow: only so many tasks are read for one.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn tasks(
        &self,
        filter: TaskFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<Result<TaskSummary, UnreadableRecord>>, StoreError> {
        self.tasks_of(&Tenant::default(), filter, cursor, limit).await
    }

    /// The same, of another tenant.
    pub(crate) async fn tasks_of(
        &self,
        tenant: &Tenant,
        filter: TaskFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<Result<TaskSummary, UnreadableRecord>>, StoreError> {
        let mut page = Page { items: Vec::new(), next: cursor.map(str::to_owned) };
        let mut scanned = 0;
        while page.items.len() < limit && scanned < SCANNED_AT_MOST {
            let wanted = (limit - page.items.len()).clamp(1, LISTED_AT_ONCE);
            let mut call = self.inner.scripts.recent.call(4, 96);
            call.arg(page.next.as_deref().unwrap_or_default());
            call.number(wanted as u64).number(RECORD_HEAD_BYTES).arg(tenant.mark());
            let mut rows = call.run::<Vec<Value>>(self).await?.into_iter();
            let first: u64 = reply::next(&mut rows, "recent")?;
            let found = rows.len() / 3;
            let heads = (0..found).map(|_| {
                let id = parse_id(&reply::next::<String>(&mut rows, "recent")?)?;
                let head: Bytes = reply::next(&mut rows, "recent")?;
                let state: String = reply::next(&mut rows, "recent")?;
                Ok((id, head, matches!(state.as_str(), "R" | "X")))
            });
            let heads = heads.collect::<Result<Vec<_>, StoreError>>()?;
            let read = heads.into_iter().map(|(id, head, open)| self.read_row(id, head, open));
            let rows: Vec<_> = try_join_all(read).await?.into_iter().flatten().collect();
            let is_past =
                rows.last().is_some_and(|row| row.as_ref().is_ok_and(|it| filter.is_past(it)));
            page.items.extend(rows.into_iter().filter(|row| match row {
                Ok(summary) => filter.fits(summary),
                Err(_) => filter.is_empty(),
            }));
            scanned += wanted;
            let next = first.saturating_sub(found as u64);
            page.next = (found == wanted && next > 0 && !is_past).then(|| next.to_string());
            if page.next.is_none() {
                break;
            }
        }
        Ok(page)
    }

    /// Those of these tasks that are known and readable, in their order.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn summaries(&self, ids: &[TaskId]) -> Result<Vec<TaskSummary>, StoreError> {
        let read = ids.iter().map(async |&id| {
            let mut command = redis::cmd("GETRANGE");
            command.arg(self.inner.keys.task(id)).arg(0).arg(RECORD_HEAD_BYTES - 1);
            let head: Bytes = self.ask("summaries", &command).await?;
            self.read_row(id, head, false).await
        });
        Ok(try_join_all(read).await?.into_iter().flatten().flatten().collect())
    }

    /// A task of a list, if it is still known.
    async fn read_row(
        &self,
        id: TaskId,
        head: Bytes,
        open: bool,
    ) -> Result<Option<Result<TaskSummary, UnreadableRecord>>, StoreError> {
        if head.is_empty() {
            return Ok(None);
        }
        let is_cut = head.len() as u64 == RECORD_HEAD_BYTES;
        let summary = match summary(id, head, open) {
            // What was fixed at acceptance, what the call wrote or its traceback may be longer than the head.
            Err(_) if is_cut => self.task(id).await.map(|task| task.map(TaskSummary::from)),
            summary => summary.map(Some),
        };
        match summary {
            Err(error @ StoreError::Corrupt { .. }) => {
                Ok(Some(Err(UnreadableRecord::new(id, &error))))
            }
            Err(error) => Err(error),
            Ok(summary) => Ok(summary.map(Ok)),
        }
    }
}

const _: () = assert!(SCANNED_AT_MOST < RECENT_TASKS, "a page is a part of the list");

/// The answer of the script as a result, unread where it is a blob. Nothing where the task is not of the
/// tenant.
fn task_result(
    id: TaskId,
    tenant: Option<&Tenant>,
    answer: Bytes,
) -> Result<Option<TaskResult>, StoreError> {
    let is_others = |mark: &[u8]| tenant.is_some_and(|tenant| tenant.mark().as_bytes() != mark);
    let unfinished = match answer.split_first() {
        Some((b'Q', mark)) => Some((TaskStatus::Queued, mark)),
        Some((b'R', mark)) => Some((TaskStatus::Running, mark)),
        _ => None,
    };
    if let Some((status, mark)) = unfinished {
        return Ok((!is_others(mark)).then(|| TaskResult::of(status)));
    }
    let record = StoredTask::read(id, answer)?;
    if is_others(record.tenant_mark()) {
        return Ok(None);
    }
    let status = status(&record, false);
    let stored = record.outcome(id)?;
    let failure = stored.as_ref().and_then(|stored| stored.outcome.verdict.failure());
    Ok(Some(TaskResult {
        result: record.result(),
        failure: failure.map(|failure| failure.kind),
        kind: stored.and_then(|stored| stored.kind),
        expires_at: record.end.as_ref().map(|end| end.expires_at),
        unread_bytes: record.result_blob().unwrap_or(0),
        is_away: false,
        ..TaskResult::of(status)
    }))
}

fn summary(id: TaskId, head: Bytes, open: bool) -> Result<TaskSummary, StoreError> {
    let record = StoredTask::read(id, head)?;
    let (accepted_at, body) = record.accepted(id)?;
    let stored = record.outcome(id)?;
    let end = match (&record.end, stored) {
        (Some(end), Some(stored)) => {
            let attempts = Attempts::read(id, &record.state())?;
            let attempts = (attempts.opened, attempts.started_at);
            Some(TaskEnd::new(attempts, end.finished_at, stored.worker, &stored.outcome))
        }
        _ => None,
    };
    Ok(TaskSummary {
        id,
        function_id: body.spec.function_id,
        status: status(&record, open),
        class: body.spec.class,
        priority: body.spec.priority,
        accepted_at,
        due_at: (body.delay_ms > 0).then(|| body.due_at(accepted_at)),
        end,
    })
}

fn status(record: &StoredTask, open: bool) -> TaskStatus {
    match &record.end {
        Some(end) => end.status,
        None if open => TaskStatus::Running,
        None => TaskStatus::Queued,
    }
}
