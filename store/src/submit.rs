//! Accepting and cancelling tasks.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use belljar_core::id::TaskId;
use belljar_core::task::TaskStatus;
use belljar_core::tenant::{Tenant, Weight};
use redis::Value;

use crate::blob::is_blob;
use crate::config::{IDEMPOTENCY_TTL, RECENT_TASKS};
use crate::error::StoreError;
use crate::layout::TENANT_MARK;
use crate::record::{CancelOutcome, Idempotency, NewTask, OverQuota, StoreQuotas};
use crate::reply::{parse_id, unexpected};
use crate::script::ScriptCall;
use crate::{Store, batch, reply, task_record};

impl Store {
    /// Accepts all of `tasks`, of the default tenant, or none. Answers with the ids in the same order: a task with a known
    /// idempotency key has the id of the first submission.
    ///
    /// # Errors
    /// The queue is full, a key was used with another body, or Redis does not answer; nothing was
    /// accepted then. After [`StoreError::Unanswered`] it is not known whether they were: submit the same
    /// tasks, under the same ids, again.
    pub async fn submit(&self, tasks: Vec<NewTask>) -> Result<Vec<TaskId>, StoreError> {
        self.submit_of(&Tenant::default(), Weight::default(), None, tasks).await
    }

    /// The same, of a tenant with a weight, and perhaps with quotas.
    pub(crate) async fn submit_of(
        &self,
        tenant: &Tenant,
        weight: Weight,
        quotas: Option<StoreQuotas>,
        tasks: Vec<NewTask>,
    ) -> Result<Vec<TaskId>, StoreError> {
        let by = Submitter { tenant, weight, quotas };
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let blobs = || tasks.iter().filter(|task| is_blob(&task.args));
        self.put_blobs(
            "submit",
            blobs().map(|task| (self.inner.keys.args_blob(task.id), &task.args)),
        )
        .await?;
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
        answer
    }

    async fn submit_tasks(
        &self,
        by: Submitter<'_>,
        tasks: &[NewTask],
    ) -> Result<Vec<TaskId>, StoreError> {
        if batch::is_large(tasks)
            && let Some(ids) = self.submit_in_parts(by, tasks).await?
        {
            return Ok(ids);
        }
        let part = EncodedTasks::new(by, tasks);
        let mut call = self.inner.scripts.submit.call(part.count(), part.bytes());
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
            _ => {
                let queued = reply::next(&mut answer, "submit")?;
                Err(StoreError::QueueFull { queued, limit: self.inner.config.max_queued })
            }
        }
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

/// Who submits.
#[derive(Clone, Copy)]
pub(crate) struct Submitter<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) weight: Weight,
    /// `None` where its use is not counted.
    pub(crate) quotas: Option<StoreQuotas>,
}

/// Where the arguments of `submit.lua` go.
pub(crate) trait Arguments {
    /// Appends a text.
    fn text(&mut self, value: &[u8]);
    /// Appends a number.
    fn number(&mut self, value: u64);
}

impl Arguments for ScriptCall<'_> {
    fn text(&mut self, value: &[u8]) {
        self.arg(value);
    }

    fn number(&mut self, value: u64) {
        Self::number(self, value);
    }
}

/// Tasks as `submit.lua` takes them.
pub(crate) struct EncodedTasks<'a> {
    by: Submitter<'a>,
    tasks: &'a [NewTask],
    /// The classes and priorities.
    groups: Vec<(String, u64)>,
    /// Of each task the record, the number of its group, and its delay and idempotency key.
    parts: Vec<(Vec<u8>, usize, String)>,
}

impl<'a> EncodedTasks<'a> {
    pub(crate) fn new(by: Submitter<'a>, tasks: &'a [NewTask]) -> Self {
        let mut groups: Vec<(String, u64)> = Vec::new();
        let mut parts = Vec::with_capacity(tasks.len());
        for task in tasks {
            let group =
                (task.spec.class.to_string(), task_record::priority_number(task.spec.priority));
            let place = groups.iter().position(|known| *known == group).unwrap_or_else(|| {
                groups.push(group);
                groups.len() - 1
            });
            let record = task_record::encode(task, by.tenant, by.quotas.is_some());
            parts.push((record, place + 1, extra(task, by.tenant)));
        }
        Self { by, tasks, groups, parts }
    }

    /// How many arguments there are.
    pub(crate) fn count(&self) -> usize {
        7 + 2 * self.groups.len() + 5 * self.tasks.len()
    }

    /// About how long they are together.
    pub(crate) fn bytes(&self) -> usize {
        self.tasks
            .iter()
            .zip(&self.parts)
            .map(|(task, part)| 80 + task.args.len() + part.0.len())
            .sum()
    }

    pub(crate) fn write(&self, max_queued: u64, to: &mut impl Arguments) {
        let Submitter { tenant, weight, quotas } = self.by;
        to.number(max_queued);
        to.number(RECENT_TASKS as u64);
        to.number(IDEMPOTENCY_TTL.as_secs());
        to.number(self.groups.len() as u64);
        to.text(tenant.mark().as_bytes());
        to.text(share(weight, quotas).as_bytes());
        to.text(quotas.map_or_else(String::new, |quotas| quotas.for_submission()).as_bytes());
        for (class, priority) in &self.groups {
            to.text(class.as_bytes());
            to.number(*priority);
        }
        for (task, (record, group, extra)) in self.tasks.iter().zip(&self.parts) {
            to.text(task.id.to_string().as_bytes());
            to.text(record);
            to.text(if is_blob(&task.args) { &[] } else { &task.args });
            to.number(*group as u64);
            to.text(extra.as_bytes());
        }
    }
}

/// A tenant's share, as `turns.lua` reads it: its weight, and how many of its tasks may run where that is bound.
fn share(weight: Weight, quotas: Option<StoreQuotas>) -> String {
    match quotas.and_then(|quotas| quotas.running_tasks) {
        None => weight.get().to_string(),
        Some(most) => format!("{}/{most}", weight.get()),
    }
}

/// A task's delay and idempotency key; nothing for most tasks.
fn extra(task: &NewTask, tenant: &Tenant) -> String {
    let mut extra = String::new();
    if task.delay_ms > 0 || task.idempotency.is_some() {
        let delay = task.delay_ms;
        // Writing to a string cannot fail.
        let _ = match &task.idempotency {
            Some(same) => write!(extra, "{delay} {}", key_and_body(tenant, same)),
            None => write!(extra, "{delay}  "),
        };
    }
    extra
}

/// `<body hash> <idempotency key>`.
pub(crate) fn key_and_body(tenant: &Tenant, same: &Idempotency) -> String {
    format!("{} {}", same.body, key_of(tenant, &same.key))
}

/// A client's key among those of all tenants: `@<tenant>:<key>`, the key alone for the default one.
fn key_of<'a>(tenant: &Tenant, key: &'a str) -> Cow<'a, str> {
    if tenant.is_default() && !key.starts_with(TENANT_MARK) {
        return key.into();
    }
    format!("{TENANT_MARK}{}:{key}", tenant.mark()).into()
}

/// The client's key in one of all tenants.
fn own_key(key: &str) -> &str {
    match key.strip_prefix(TENANT_MARK).and_then(|key| key.split_once(':')) {
        Some((_, own)) => own,
        None => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_two_tenants_are_never_the_same() {
        let [default, acme]: [Tenant; 2] =
            ["default", "acme"].map(|name| name.parse().expect("a name"));
        for key in ["k", "@acme:k", "@:k", "@", ":"] {
            let both = [key_of(&default, key), key_of(&acme, key)];
            assert!(!both[0].starts_with("@acme:"), "{}", both[0]);
            assert!(both[1].starts_with("@acme:"), "{}", both[1]);
            assert_eq!(both.map(|key_of| own_key(&key_of) == key), [true, true], "{key}");
        }
    }
}
