//! The tasks of a submission, and their ids.

use belljar_core::id::TaskId;
use belljar_core::task::{CodeHash, TaskSpec};
use belljar_store::record::{FunctionRecord, Idempotency, NewTask};
use bytes::Bytes;

use crate::routes::submit_request::Options;

/// How many tasks a submission may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    One,
    Batch,
}

/// The tasks with these arguments. Under a key that was not looked at before, the arguments are what is asked.
pub(super) fn new_tasks(
    function: &FunctionRecord,
    spec: &TaskSpec,
    options: &Options,
    (form, asked): (Form, Option<IdempotentBatch>),
    args: Vec<Bytes>,
) -> Vec<NewTask> {
    let mut idempotent = asked.or_else(|| {
        IdempotentBatch::of(options, function, form, args.iter().map(|args| &args[..]))
    });
    let task = |(index, args): (usize, Bytes)| NewTask {
        id: idempotent.as_ref().map_or_else(TaskId::random, |idempotent| idempotent.id(index)),
        spec: spec.clone(),
        idempotency: idempotent.as_mut().and_then(|idempotent| idempotent.first.take()),
        args,
        delay_ms: options.delay_ms,
        session: options.session,
        trace: None,
    };
    args.into_iter().enumerate().map(task).collect()
}

/// A submission under a key. The ids of its tasks follow from everything that was asked, so that asking
/// again gives the same ids, which the store passes over; it keeps the key of the first task only, to
/// tell when something else is asked under it. A key for each task would cost as much as the task.
pub(super) struct IdempotentBatch {
    pub(super) first: Option<Idempotency>,
    hash: CodeHash,
}

impl IdempotentBatch {
    /// That of a submission of these arguments; `None` for one without a key.
    pub(super) fn of<'a>(
        options: &Options,
        function: &FunctionRecord,
        form: Form,
        args: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let Options { runtime, timeout_s, key, priority, delay_ms, session } = options;
        let key = key.as_deref()?;
        let args: Vec<_> = args.collect();
        let lengths: Vec<_> = args.iter().map(|args| args.len()).collect();
        let session = session.map_or_else(String::new, |id| format!(" {id}"));
        let asked = format!(
            "{} {form:?} {lengths:?} {runtime:?} {timeout_s:?} {priority} {delay_ms}{session}\n",
            function.id
        );
        let parts = std::iter::once(asked.as_bytes()).chain(args.iter().copied());
        let body = CodeHash::of_parts(parts);
        // A unit separator: no key of a single task is like that of a batch by accident.
        let key = match form {
            Form::One => key.to_owned(),
            Form::Batch => format!("{key}\u{1f}"),
        };
        let hash = CodeHash::of(&[body.as_bytes(), key.as_bytes()].concat());
        Some(Self { first: Some(Idempotency { key, body }), hash })
    }

    /// The id of the task at `index`.
    pub(super) fn id(&self, index: usize) -> TaskId {
        TaskId::derived(&[&self.hash.as_bytes()[..], &index.to_le_bytes()].concat())
    }
}
