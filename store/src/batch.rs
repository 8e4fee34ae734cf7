//! Large batches. One script for ten thousand tasks would keep all other clients waiting for a tenth of a second. So the
//! tasks are first written in parts that no other script reads; then one short script accepts all of them or none; then
//! each part is queued by a script of its own. Where the gateway vanishes between these, parts that were not accepted
//! expire, and dispatchers queue those that were.

use std::time::{Duration, Instant};

use belljar_core::id::TaskId;
use redis::{Cmd, Value};

use crate::Store;
use crate::blob::{UNCLAIMED_TTL, is_blob};
use crate::config::IDEMPOTENCY_TTL;
use crate::encoded_tasks::{Arguments, EncodedTasks, Submitter, in_script, key_and_body};
use crate::error::StoreError;
use crate::layout::TASK_BYTES;
use crate::record::NewTask;

/// The most tasks of one part: each costs the server some ten microseconds, for which others wait.
const PART_TASKS: usize = 64;
/// The same where the submitter leaves pauses to others.
const PART_TASKS_BETWEEN_PAUSES: usize = 32;
/// So many tasks go at once: as many as the Python package sends.
const TASKS_AT_ONCE: usize = 256;
/// The most bytes of arguments of one part, but for the last task.
const PART_BYTES: usize = 256 * 1024;
/// The longest pause after a part: dispatchers take a batch without progress for abandoned much later.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// How many parts of an abandoned batch one heartbeat queues.
const UNPACKED_AT_ONCE: usize = 100;

/// Whether a submission goes in parts.
pub(crate) fn is_large(tasks: &[NewTask]) -> bool {
    tasks.len() > TASKS_AT_ONCE || args_bytes(tasks) > PART_BYTES
}

fn args_bytes(tasks: &[NewTask]) -> usize {
    tasks.iter().map(in_script).sum()
}

fn parts(tasks: &[NewTask], most: usize) -> Vec<&[NewTask]> {
    let (mut parts, mut rest) = (Vec::new(), tasks);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |task: &&NewTask| {
            bytes += in_script(task);
            bytes <= PART_BYTES
        };
        let count = rest.iter().take(most).take_while(fits).count().max(1);
        let (part, after) = rest.split_at(count);
        parts.push(part);
        rest = after;
    }
    parts
}

impl Store {
    /// Accepts all of `tasks` or none. `None`: their first key is known for a task of another id, which is for
    /// `submit.lua` to answer.
    pub(crate) async fn submit_in_parts(
        &self,
        by: Submitter<'_>,
        tasks: &[NewTask],
    ) -> Result<Option<Vec<TaskId>>, StoreError> {
        let [first, rest @ ..] = tasks else { return Ok(None) };
        // Only the first may have a key.
        if rest.iter().any(|task| task.idempotency.is_some()) {
            return Ok(None);
        }
        let most = if by.pauses { PART_TASKS_BETWEEN_PAUSES } else { PART_TASKS };
        let (name, parts) = (TaskId::random().to_string(), parts(tasks, most));
        let accepted = async {
            self.stage(by, &name, &parts).await?;
            self.commit(by, &name, parts.len(), (first, tasks)).await
        };
        let accepted = accepted.await;
        if !matches!(accepted, Ok(Committed::Now) | Err(StoreError::Unanswered(_))) {
            let keys = (0..parts.len()).map(|part| self.inner.keys.staged(&name, part));
            self.drop_blobs("submit", keys.collect()).await;
        }
        if matches!(accepted?, Committed::UnderOtherIds) {
            return Ok(None);
        }
        // It is accepted: that a part is not queued must not say that it is not.
        self.unpack(first.id, usize::MAX, by.pauses).await.map_err(unanswered)?;
        Ok(Some(tasks.iter().map(|task| task.id).collect()))
    }

    /// Writes the parts of a batch, for a while.
    async fn stage(
        &self,
        by: Submitter<'_>,
        name: &str,
        parts: &[&[NewTask]],
    ) -> Result<(), StoreError> {
        for (number, tasks) in parts.iter().enumerate() {
            let tasks = EncodedTasks::new(by, tasks);
            let mut packed = Packed::with_capacity(tasks.count(), tasks.bytes());
            tasks.write(self.inner.config.max_queued, &mut packed);
            let mut set = Cmd::with_capacity(5, packed.0.len() + 128);
            set.arg("SET").arg(self.inner.keys.staged(name, number)).arg(&packed.0[..]);
            set.arg("PX").arg(UNCLAIMED_TTL.as_millis());
            self.ask::<()>("submit", &set).await?;
        }
        Ok(())
    }

    async fn commit(
        &self,
        by: Submitter<'_>,
        name: &str,
        parts: usize,
        (first, tasks): (&NewTask, &[NewTask]),
    ) -> Result<Committed, StoreError> {
        let blobs = || tasks.iter().filter(|task| is_blob(&task.args));
        let counted: u64 = tasks.iter().map(|task| TASK_BYTES + task.args.len() as u64).sum();
        let quotas = by.quotas.map_or_else(String::new, |quotas| quotas.for_submission());
        let key = first.idempotency.as_ref().map(|same| key_and_body(by.tenant, same));
        let mut call = self.inner.scripts.commit.call(10 + blobs().count(), 512);
        call.number(self.inner.config.max_queued).number(IDEMPOTENCY_TTL.as_secs());
        call.arg(by.tenant.mark()).arg(quotas).number(counted);
        call.arg(first.id.to_string()).arg(name).number(parts as u64).number(tasks.len() as u64);
        call.arg(key.unwrap_or_default());
        for task in blobs() {
            call.arg(task.id.to_string());
        }
        let answer: Vec<Value> = call.run(self).await?;
        let is = |word: &[u8]| answer.first() == Some(&Value::BulkString(word.to_vec()));
        match () {
            () if is(b"known") => Ok(Committed::Before),
            () if is(b"older") => Ok(Committed::UnderOtherIds),
            () => self.read_submission(Vec::new(), by.quotas, answer).map(|_| Committed::Now),
        }
    }

    /// Queues the tasks of a batch that was accepted, at most so many of its parts.
    async fn unpack(&self, first: TaskId, most: usize, pauses: bool) -> Result<(), StoreError> {
        for _ in 0..most {
            let begun = Instant::now();
            let left: u64 =
                self.inner.scripts.unpack.call(1, 36).arg(first.to_string()).run(self).await?;
            if left == 0 {
                break;
            }
            if pauses {
                tokio::time::sleep(begun.elapsed().min(LONGEST_PAUSE)).await;
            }
        }
        Ok(())
    }

    /// Queues tasks of batches whose gateways vanished after they were accepted.
    pub(crate) async fn unpack_abandoned(&self, firsts: &[String]) -> Result<(), StoreError> {
        for first in firsts {
            self.unpack(crate::reply::parse_id(first)?, UNPACKED_AT_ONCE, false).await?;
        }
        Ok(())
    }
}

/// What became of a batch that is accepted.
enum Committed {
    Now,
    /// It was accepted before, from other parts.
    Before,
    /// Its first task was accepted before, with another id.
    UnderOtherIds,
}

fn unanswered(error: StoreError) -> StoreError {
    match error {
        StoreError::Unreachable(error)
        | StoreError::RefusesWrites(_, error)
        | StoreError::Unexpected { source: error, .. } => StoreError::Unanswered(error),
        error => error,
    }
}

/// Arguments of a script as one value, a list of texts in MessagePack, which `unpack.lua` reads.
struct Packed(Vec<u8>);

impl Packed {
    /// So many arguments of about so many bytes.
    fn with_capacity(count: usize, bytes: usize) -> Self {
        let mut packed = Vec::with_capacity(5 * (count + 1) + bytes);
        packed.push(0xdd);
        packed.extend(length(count));
        Self(packed)
    }
}

impl Arguments for Packed {
    fn text(&mut self, value: &[u8]) {
        self.0.push(0xdb);
        self.0.extend(length(value.len()));
        self.0.extend_from_slice(value);
    }

    fn number(&mut self, value: u64) {
        self.text(value.to_string().as_bytes());
    }
}

#[expect(clippy::expect_used, reason = "a part has far less than 4 GiB")]
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("it fits").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use belljar_core::id::FunctionId;
    use belljar_core::task::{CodeHash, Priority, TaskLimits, TaskSpec};
    use bytes::Bytes;

    use super::*;

    fn task(bytes: usize) -> NewTask {
        let spec = TaskSpec {
            function_id: FunctionId::from_bytes([7; 16]),
            code: CodeHash::of(b"code"),
            class: "native:3.11".parse().expect("a class"),
            limits: TaskLimits::DEFAULT,
            priority: Priority::Normal,
            grants: None,
            packages: None,
            warm: belljar_core::warm::WarmMode::Auto,
        };
        let (id, args) = (TaskId::random(), Bytes::from(vec![0; bytes]));
        NewTask { id, spec, args, delay_ms: 0, session: None, idempotency: None, trace: None }
    }

    #[test]
    fn parts_are_bounded_by_tasks_and_by_bytes() {
        let lengths = |sizes: &[usize]| {
            let tasks: Vec<_> = sizes.iter().map(|&size| task(size)).collect();
            (
                is_large(&tasks),
                parts(&tasks, PART_TASKS).iter().map(|part| part.len()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(lengths(&[1; PART_TASKS]), (false, vec![PART_TASKS]));
        assert!(!lengths(&[1; TASKS_AT_ONCE]).0);
        assert_eq!(lengths(&[1; TASKS_AT_ONCE + 1]), (true, vec![64, 64, 64, 64, 1]));
        let tasks: Vec<_> = (0..PART_TASKS).map(|_| task(1)).collect();
        assert_eq!(parts(&tasks, PART_TASKS_BETWEEN_PAUSES).len(), 2);
        let half = 60 * 1024;
        assert_eq!(lengths(&[half; 9]), (true, vec![4, 4, 1]));
        // Blobs stay out of scripts.
        assert_eq!(lengths(&[10 << 20; 3]), (false, vec![3]));
    }
}
