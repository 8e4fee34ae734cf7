//! Accepting and cancelling tasks.

use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_core::task::TaskStatus;
use belljar_core::tenant::Tenant;
use redis::Value;

use crate::blob::is_blob;
use crate::blob_name::BlobName;
use crate::encoded_tasks::{EncodedTasks, Submitter, key_of, own_key};
use crate::error::StoreError;
use crate::keys::{BATCHES, IDEMPOTENCY};
use crate::record::{CancelOutcome, Idempotency, NewTask, OverQuota, StoreQuotas};
use crate::reply::{parse_id, unexpected};
use crate::{Store, batch, reply};

/// How long an id is in what a key is known for.
const ID_BYTES: usize = 36;

impl Store {
    /// Accepts all of `tasks`, of the default tenant, or none. Answers with the ids in the same order: a task with a known
    /// idempotency key has the id of the first submission.
    ///
    /// # Errors
    /// The queue is full, a key was used with another body, or Redis does not answer; nothing was
    /// accepted then. After [`StoreError::Unanswered`] it is not known whether they were, after
    /// [`StoreError::Unconfirmed`] whether a failover keeps them: submit the same tasks, under the same ids, again.
    pub async fn submit(&self, tasks: Vec<NewTask>) -> Result<Vec<TaskId>, StoreError> {
        self.of(&Tenant::default()).submit(tasks).await
    }

    /// The same, of a tenant with a weight, and perhaps with quotas.
    pub(crate) async fn submit_of(
        &self,
        by: Submitter<'_>,
        tasks: Vec<NewTask>,
    ) -> Result<Vec<TaskId>, StoreError> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let blobs = || tasks.iter().filter(|task| is_blob(&task.args));
        self.put_blobs("submit", blobs().map(|task| (BlobName::Args(task.id), &task.args))).await?;
        let answer = self.submit_tasks(by, &tasks).await;
        if matches!(answer, Err(StoreError::Unanswered(_))) {
            return answer;
        }
        // The blobs of tasks that were refused, or accepted before under another id, take memory for a while.
        let taken = answer.as_ref().map_or(&[][..], Vec::as_slice);
        let left = blobs()
            .filter(|task| !taken.contains(&task.id))
            .map(|task| self.inner.keys.args_blob(task.id));
        self.drop_blobs("submit", left.collect()).await;
        let accepted = answer?;
        // They were written at once, or part by part: who has the last one has the others.
        if let Some(last) = accepted.last() {
            self.confirm(|| self.inner.keys.task(*last)).await?;
        }
        Ok(accepted)
    }

    async fn submit_tasks(
        &self,
        by: Submitter<'_>,
        tasks: &[NewTask],
    ) -> Result<Vec<TaskId>, StoreError> {
        if tasks.first().is_none_or(|task| task.session.is_none())
            && batch::is_large(tasks)
            && let Some(ids) = self.submit_in_parts(by, tasks).await?
        {
            return Ok(ids);
        }
        let part = EncodedTasks::new(by, tasks);
        let of_session = tasks.first().and_then(|task| task.session);
        let scripts = &self.inner.scripts;
        let script = if of_session.is_some() { &scripts.session_submit } else { &scripts.submit };
        let mut call = script.call(part.count(), part.bytes());
        part.write(self.inner.config.max_queued, &mut call);
        let ids = tasks.iter().map(|task| task.id).collect();
        self.read_submission(ids, by.quotas, call.run(self).await?)
    }

    pub(crate) fn read_submission(
        &self,
        mut ids: Vec<TaskId>,
        quotas: Option<StoreQuotas>,
        answer: Vec<Value>,
    ) -> Result<Vec<TaskId>, StoreError> {
        let mut answer = answer.into_iter();
        let verdict: String = reply::next(&mut answer, "submit")?;
        match verdict.as_str() {
            "accepted" => {
                while answer.len() > 0 {
                    let place: usize = reply::next(&mut answer, "submit")?;
                    let older: String = reply::next(&mut answer, "submit")?;
                    let place = place.checked_sub(1).and_then(|place| ids.get_mut(place));
                    *place.ok_or_else(|| unexpected("submit"))? = parse_id(&older)?;
                }
                Ok(ids)
            }
            "conflict" => {
                let key: String = reply::next(&mut answer, "submit")?;
                let key = own_key(&key).to_owned();
                let first: String = reply::next(&mut answer, "submit")?;
                Err(StoreError::IdempotencyConflict { key, task_id: parse_id(&first)? })
            }
            "quota" => {
                let name: String = reply::next(&mut answer, "submit")?;
                let used = reply::next(&mut answer, "submit")?;
                let after: i64 = reply::next(&mut answer, "submit")?;
                let named = quotas.unwrap_or_default().named(&name);
                let (quota, limit) = named.ok_or_else(|| unexpected("submit"))?;
                let frees_after = u64::try_from(after).ok().map(Duration::from_millis);
                Err(StoreError::OverQuota(OverQuota { quota, used, limit, frees_after }))
            }
            "session" => Err(StoreError::UnknownSession),
            "waiting" => {
                Err(StoreError::SessionFull { waiting: reply::next(&mut answer, "submit")? })
            }
            _ => {
                let queued = reply::next(&mut answer, "submit")?;
                Err(StoreError::QueueFull { queued, limit: self.inner.config.max_queued })
            }
        }
    }

    /// The first task of what a tenant has submitted under a key; `None` for a key that is free.
    pub(crate) async fn submitted_of(
        &self,
        tenant: &Tenant,
        same: &Idempotency,
    ) -> Result<Option<TaskId>, StoreError> {
        let keys = &self.inner.keys;
        let key = format!("{}{}", keys.key(IDEMPOTENCY), key_of(tenant, &same.key));
        let known: Option<String> = self.ask("submit", redis::cmd("GET").arg(key)).await?;
        let Some(known) = known else { return Ok(None) };
        let (id, body) = known.split_at_checked(ID_BYTES).ok_or_else(|| unexpected("submit"))?;
        let task_id = parse_id(id)?;
        // As the scripts that accept tasks have it: the key of a task that was forgotten is free.
        let kept: bool = self.ask("submit", redis::cmd("EXISTS").arg(keys.task(task_id))).await?;
        let batches = keys.key(BATCHES);
        if !kept && !self.ask("submit", redis::cmd("HEXISTS").arg(batches).arg(id)).await? {
            return Ok(None);
        }
        if body != same.body.to_string() {
            return Err(StoreError::IdempotencyConflict { key: same.key.clone(), task_id });
        }
        Ok(Some(task_id))
    }

    /// Cancels; `None` for an unknown id. A queued task has ended when this returns, a running one
    /// ends once its code has stopped, and neither ever shows a result.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn cancel(&self, id: TaskId) -> Result<Option<CancelOutcome>, StoreError> {
        self.cancel_of(None, id).await
    }

    /// The same for a task of one tenant, where it is given: others are unknown.
    pub(crate) async fn cancel_of(
        &self,
        tenant: Option<&Tenant>,
        id: TaskId,
    ) -> Result<Option<CancelOutcome>, StoreError> {
        let mut call = self.inner.scripts.cancel.call(4, 260);
        call.arg(id.to_string()).number(self.result_ttl_ms()).arg(&*self.inner.cancelled_outcome);
        call.arg(tenant.map_or("*", Tenant::mark));
        let answer: Option<String> = call.run(self).await?;
        Ok(match answer.as_deref() {
            None => None,
            Some("cancelled") => Some(CancelOutcome::Cancelled),
            Some("stopping") => Some(CancelOutcome::Stopping),
            Some("C") => Some(CancelOutcome::Ended(TaskStatus::Completed)),
            Some("F") => Some(CancelOutcome::Ended(TaskStatus::Failed)),
            Some("X") => Some(CancelOutcome::Ended(TaskStatus::Cancelled)),
            Some(_) => return Err(unexpected("cancel")),
        })
    }
}
