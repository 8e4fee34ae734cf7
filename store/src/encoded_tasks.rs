//! Tasks as the scripts take them that accept them.

use std::borrow::Cow;
use std::fmt::Write as _;

use belljar_core::tenant::{Tenant, Weight};

use crate::blob::is_blob;
use crate::config::{IDEMPOTENCY_TTL, RECENT_TASKS};
use crate::layout::TENANT_MARK;
use crate::record::{Idempotency, NewTask, StoreQuotas};
use crate::script::ScriptCall;
use crate::task_record;

/// Who submits.
#[derive(Clone, Copy)]
pub(crate) struct Submitter<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) weight: Weight,
    /// `None` where its use is not counted.
    pub(crate) quotas: Option<StoreQuotas>,
    /// Whether large batches pause between their parts.
    pub(crate) pauses: bool,
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

    /// About how long they are together. Blobs are not among them.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |(task, part): (&NewTask, &(Vec<u8>, usize, String))| {
            80 + in_script(task) + part.0.len()
        };
        self.tasks.iter().zip(&self.parts).map(bytes).sum()
    }

    pub(crate) fn write(&self, max_queued: u64, to: &mut impl Arguments) {
        let Submitter { tenant, weight, quotas, .. } = self.by;
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
pub(crate) fn key_of<'a>(tenant: &Tenant, key: &'a str) -> Cow<'a, str> {
    if tenant.is_default() && !key.starts_with(TENANT_MARK) {
        return key.into();
    }
    format!("{TENANT_MARK}{}:{key}", tenant.mark()).into()
}

/// The client's key in one of all tenants.
pub(crate) fn own_key(key: &str) -> &str {
    match key.strip_prefix(TENANT_MARK).and_then(|key| key.split_once(':')) {
        Some((_, own)) => own,
        None => key,
    }
}

/// How much of a task's arguments a script touches.
pub(crate) fn in_script(task: &NewTask) -> usize {
    if is_blob(&task.args) { 0 } else { task.args.len() }
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
