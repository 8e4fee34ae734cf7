//! Events for subscribers, read from the messages that scripts publish.

use std::str::FromStr;

use belljar_core::id::{FunctionId, TaskId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::live::LiveUpdate;
use belljar_core::task::{Attempt, TaskAttempt, TaskStatus};
use belljar_core::tenant::Tenant;
use bytes::Bytes;
use redis::Msg;

use crate::keys::{
    Keys, TOPIC_CANCEL, TOPIC_DELIVERED, TOPIC_DRAIN, TOPIC_ENDED, TOPIC_LIVE, TOPIC_STATUS,
    TOPIC_UNREGISTERED, TOPIC_WATCH, TOPIC_WORK,
};
use crate::kind;
use crate::layout::{ID_BYTES, TENANT_MARK};
use crate::record::{ClaimedTask, TaskResult, Timestamp};
use crate::task_record::{Body, StoredTask, number, status_of};

/// A message to subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEvent {
    /// These tasks became terminal.
    Ended(Vec<EndedTask>),
    /// These tasks of a tenant, which have not ended, went through these statuses.
    StatusChanged(Vec<TaskId>, &'static [TaskStatus], Tenant),
    /// There is work of these classes for dispatchers that claimed less than they demanded.
    Work,
    /// A delayed task was accepted that is due earlier than all others: the next heartbeat says when.
    Delayed,
    /// Tasks that this dispatcher demanded: they are leased to it, as if it had claimed them.
    Delivered {
        /// The tasks.
        tasks: Vec<ClaimedTask>,
        /// Whether this meets its demand: it gets more once it has claimed.
        is_last: bool,
    },
    /// This function was deleted.
    FunctionRemoved(FunctionId),
    /// A running task must be stopped.
    Cancel(TaskId),
    /// Somebody watches a task, for [`belljar_core::live::WATCH_TTL`] from now.
    WatchRequested {
        /// The task.
        task_id: TaskId,
        /// Whether what it has written so far is wanted too.
        from_start: bool,
    },
    /// This worker is to be taken out of service.
    DrainRequested(WorkerId),
    /// What running tasks show of themselves.
    Live(Vec<LiveUpdate>),
    /// The connection was lost and is back (also sent once at the start), or events came faster than
    /// they were read: some are missing, so read the store.
    Connected,
}

/// The end of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedTask {
    /// Which task.
    pub id: TaskId,
    /// Whose it is.
    pub tenant: Tenant,
    /// How it ended.
    pub status: TaskStatus,
    /// What [`Store::results`] says of it; `None` for a failure and for a
    /// result that is too long for a message.
    pub result: Option<TaskResult>,
}

/// The event of a message; `None` for a message of another deployment.
pub(crate) fn read(message: &Msg, keys: &Keys) -> Option<StoreEvent> {
    let payload = message.get_payload_bytes();
    match keys.channel_name(message.get_channel_name())? {
        TOPIC_ENDED => read_ends(payload).map(StoreEvent::Ended),
        TOPIC_STATUS => read_status(payload),
        TOPIC_WORK if payload == b"delayed" => Some(StoreEvent::Delayed),
        TOPIC_WORK => Some(StoreEvent::Work),
        TOPIC_UNREGISTERED => id(payload).map(StoreEvent::FunctionRemoved),
        TOPIC_CANCEL => id(payload).map(StoreEvent::Cancel),
        TOPIC_DRAIN => id(payload).map(StoreEvent::DrainRequested),
        TOPIC_WATCH => {
            let (mark, task_id) = payload.split_first()?;
            Some(StoreEvent::WatchRequested { task_id: id(task_id)?, from_start: *mark == b'+' })
        }
        TOPIC_LIVE => rmp_serde::from_slice(payload).ok().map(StoreEvent::Live),
        // A delivery that cannot be read is found by comparing: its tasks are leased in the store.
        name if name.starts_with(TOPIC_DELIVERED) => {
            Some(read_delivery(payload).unwrap_or(StoreEvent::Connected))
        }
        _ => None,
    }
}

fn id<T: FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Reads the message of `scripts/finalize.lua`.
fn read_ends(message: &[u8]) -> Option<Vec<EndedTask>> {
    let line = message.iter().position(|&byte| byte == b'\n')?;
    let expires_at = Some(Timestamp(number(&message[..line])?.checked_mul(1000)?));
    let mut rest = &message[line + 1..];
    let mut ends = Vec::with_capacity(rest.len() / ID_BYTES);
    while !rest.is_empty() {
        let (id_text, after) = rest.split_at_checked(ID_BYTES)?;
        let (&letter, after) = after.split_first()?;
        let (tenant, after) = whose(after, b' ')?;
        let colon = after.iter().position(|&byte| byte == b':')?;
        let (length, after) = (&after[..colon], &after[colon + 1..]);
        let (id, status) = (id(id_text)?, status_of(letter)?);
        let result = if length.is_empty() {
            rest = after;
            None
        } else {
            let (result, after) = after.split_at_checked(usize::try_from(number(length)?).ok()?)?;
            rest = after;
            let result = Bytes::copy_from_slice(result);
            // A message has no failures: their kind stands in the record.
            let kind = kind::of_small(&result);
            Some(TaskResult { result, kind, expires_at, ..TaskResult::of(status) })
        };
        ends.push(EndedTask { id, tenant, status, result });
    }
    Some(ends)
}

/// The tenant that is named in front, up to `end`, and what follows; the default one where none is.
fn whose(text: &[u8], end: u8) -> Option<(Tenant, &[u8])> {
    if text.first() != Some(&(TENANT_MARK as u8)) {
        return Some((Tenant::default(), text));
    }
    let at = text.iter().position(|&byte| byte == end)?;
    Some((std::str::from_utf8(&text[1..at]).ok()?.parse().ok()?, &text[at + 1..]))
}

/// Reads tasks of a tenant that changed their status: Q queued, R running, G both at once; and their ids.
fn read_status(message: &[u8]) -> Option<StoreEvent> {
    let (letter, ids) = message.split_first()?;
    let through: &[TaskStatus] = match letter {
        b'Q' => &[TaskStatus::Queued],
        b'R' => &[TaskStatus::Running],
        b'G' => &[TaskStatus::Queued, TaskStatus::Running],
        _ => return None,
    };
    let (tenant, ids) = whose(ids, b'\n')?;
    let (ids, []) = ids.as_chunks::<ID_BYTES>() else { return None };
    Some(StoreEvent::StatusChanged(
        ids.iter().map(|bytes| id(bytes)).collect::<Option<_>>()?,
        through,
        tenant,
    ))
}

/// Reads the message of `scripts/direct_dispatch.lua`.
fn read_delivery(message: &[u8]) -> Option<StoreEvent> {
    let (first, mut rest) = message.split_first()?;
    let mut tasks = Vec::new();
    while !rest.is_empty() {
        let (id_text, after) = rest.split_at_checked(ID_BYTES)?;
        let line = after.iter().position(|&byte| byte == b'\n')?;
        let space = after.iter().position(|&byte| byte == b' ')?;
        let length = |text: &[u8]| usize::try_from(number(text)?).ok();
        let (record_bytes, args_bytes) =
            (length(&after[..space])?, length(after.get(space + 1..line)?)?);
        let (record, after) = after[line + 1..].split_at_checked(record_bytes)?;
        let (args, after) = after.split_at_checked(args_bytes)?;
        let id = id(id_text)?;
        let record = StoredTask::read(id, Bytes::copy_from_slice(record)).ok()?;
        let (accepted_at, body) = record.accepted(id).ok()?;
        let args = Bytes::copy_from_slice(args);
        let task = TaskAttempt { task_id: id, attempt: Attempt(1) };
        let due_at = body.due_at(accepted_at);
        let Body { spec, trace, .. } = body;
        let invocation = Invocation { task, spec, code: None, args, trace };
        rest = after;
        let tenant = record.tenant(id).ok()?;
        tasks.push(ClaimedTask { invocation, tenant, deaths: 0, due_at, unread: None });
    }
    Some(StoreEvent::Delivered { tasks, is_last: *first == b'C' })
}
