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
use crate::record::{CancelOutcome, NewTask, OverQuota, StoreQuotas};
use crate::reply::{parse_id, unexpected};
use crate::task_record;
use crate::{Store, reply};

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
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let mut groups: Vec<(String, u64)> = Vec::new();
        let mut parts = Vec::with_capacity(tasks.len());
        for task in &tasks {
            let group =
                (task.spec.class.to_string(), task_record::priority_number(task.spec.priority));
            let place = groups.iter().position(|known| *known == group).unwrap_or_else(|| {
                groups.push(group);
                groups.len() - 1
            });
            parts.push((
                task_record::encode(task, tenant, quotas.is_some()),
                place + 1,
                extra(task, tenant),
            ));
        }
        let bytes: usize =
            tasks.iter().zip(&parts).map(|(task, part)| 80 + task.args.len() + part.0.len()).sum();
        let mut call =
            self.inner.scripts.submit.call(7 + 2 * groups.len() + 5 * tasks.len(), bytes);
        call.number(self.inner.config.max_queued)
            .number(RECENT_TASKS as u64)
            .number(IDEMPOTENCY_TTL.as_secs())
            .number(groups.len() as u64)
            .arg(tenant.mark())
            .arg(share(weight, quotas))
            .arg(quotas.map_or_else(String::new, |quotas| quotas.for_submission()));
        for (class, priority) in groups {
            call.arg(class).number(priority);
        }
        for (task, (record, group, extra)) in tasks.iter().zip(parts) {
            let args: &[u8] = if is_blob(&task.args) { &[] } else { &task.args };
            call.arg(task.id.to_string()).arg(record).arg(args);
            call.number(group as u64).arg(extra);
        }
        let blobs = || tasks.iter().filter(|task| is_blob(&task.args));
        self.put_blobs(
            "submit",
            blobs().map(|task| (self.inner.keys.args_blob(task.id), &task.args)),
        )
        .await?;
        let ids = tasks.iter().map(|task| task.id).collect();
        let answer = self.read_submission(ids, quotas, call.run(self).await?);
        // The blobs of tasks that were refused, or accepted before under another id, take memory for a while.
        let taken = answer.as_ref().map_or(&[][..], Vec::as_slice);
        let left = blobs()
            .filter(|task| !taken.contains(&task.id))
            .map(|task| self.inner.keys.args_blob(task.id));
        self.drop_blobs("submit", left.collect()).await;
        answer
    }

    fn read_submission(
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
            Some(same) => write!(extra, "{delay} {} {}", same.body, key_of(tenant, &same.key)),
            None => write!(extra, "{delay}  "),
        };
    }
    extra
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
