//! Values that arguments refer to: uploaded ones, and results of other tasks. In a pickle each is a persistent id, in place of which
//! the value stands when the call is made.

use std::collections::HashMap;

use belljar_core::args::{ArgsPiece, ValueRef, list};
use belljar_core::id::TaskId;
use belljar_core::limits::MAX_ARGS_BYTES;
use belljar_core::outcome::ResultKind;
use belljar_core::task::Runtime;
use belljar_pickle::{Reference, Splice, spliced};
use belljar_store::value_ref::{FoundValue, HeldFile, ValueState};
use belljar_store::{StoreError, TenantStore};
use bytes::Bytes;

use crate::error::ApiError;
use crate::problem::shown;
use crate::routes::new_tasks::IdempotentBatch;
use crate::routes::submit_request::{Arguments, Referring};

/// The most different values that the calls of one request may refer to: each is looked up.
const MAX_VALUES: usize = 1_000;

/// Values that tasks must hold: for each the index of its task among those of the request.
pub(super) type Holds = Vec<(usize, HeldFile)>;

/// How a value is put in the place of its id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As its bytes.
    Bytes,
    /// As what its pickle loads to.
    Loaded,
}

/// [`place_values`], of a submission that may have been accepted before: then its values may be gone, and it is `None`.
pub(super) async fn place_or_find(
    store: &TenantStore<'_>,
    runtime: Runtime,
    args: &mut Arguments,
    asked: Option<&IdempotentBatch>,
) -> Result<Option<Holds>, ApiError> {
    match (place_values(store, runtime, args).await, asked.and_then(|asked| asked.first.as_ref())) {
        (Err(ApiError::UnknownValue(value)), Some(same)) => match store.submitted(same).await {
            Ok(Some(_)) => Ok(None),
            Ok(None) => Err(ApiError::UnknownValue(value)),
            Err(StoreError::IdempotencyConflict { key, task_id }) => {
                Err(ApiError::IdempotencyConflict { key, task_id })
            }
            Err(error) => Err(error.into()),
        },
        (placed, _) => placed.map(Some),
    }
}

/// Finds the values that arguments refer to, and puts lists of pieces in the place of these arguments.
async fn place_values(
    store: &TenantStore<'_>,
    runtime: Runtime,
    args: &mut Arguments,
) -> Result<Holds, ApiError> {
    let mut known = HashMap::new();
    let mut holds = Vec::new();
    for Referring { index, references } in std::mem::take(&mut args.referring) {
        let mut values = Vec::with_capacity(references.len());
        for reference in &references {
            let (value, form) = read_id(&reference.id)?;
            if !known.contains_key(&value) {
                if known.len() == MAX_VALUES {
                    let text = format!(
                        "the calls refer to more than {MAX_VALUES} different values: send fewer calls at once"
                    );
                    return Err(ApiError::Payload(text));
                }
                known.insert(value, found(store, runtime, value).await?);
            }
            values.push((value, form));
        }
        let payload = &args.payloads[index];
        let files = args.files();
        let head = |bytes| Bytes::from(files.envelope_head(bytes));
        let (list, held) = place(payload, &references, &values, (&known, &head))?;
        args.payloads[index] = list;
        holds.extend(held.into_iter().map(|held| (index, held)));
    }
    Ok(holds)
}

type Known<'a> = (&'a HashMap<ValueRef, FoundValue>, &'a dyn Fn(u64) -> Bytes);

/// The list of pieces of one call, and what its task must hold.
fn place(
    payload: &Bytes,
    references: &[Reference],
    values: &[(ValueRef, Form)],
    (known, head): Known<'_>,
) -> Result<(Bytes, Vec<HeldFile>), ApiError> {
    let splices: Vec<_> = values
        .iter()
        .map(|(value, form)| match form {
            Form::Bytes => Splice::Bytes(known[value].bytes),
            Form::Loaded => Splice::Pickle(known[value].bytes),
        })
        .collect();
    let around = spliced(payload, references, &splices);
    let (mut pieces, mut held) = (Vec::with_capacity(2 * around.len()), Vec::new());
    let mut values = values.iter();
    for piece in around {
        pieces.push(ArgsPiece::Here(piece.into()));
        if let Some((value, _)) = values.next() {
            let index = u32::try_from(held.len()).unwrap_or(u32::MAX);
            let (piece, hold) = known[value].piece(*value, index);
            pieces.push(piece);
            held.extend(hold);
        }
    }
    let bytes = pieces.iter().map(ArgsPiece::bytes).fold(0, u64::saturating_add);
    if bytes > MAX_ARGS_BYTES {
        return Err(ApiError::ArgsTooLarge { bytes, limit: MAX_ARGS_BYTES });
    }
    let head = head(bytes);
    if !head.is_empty() {
        pieces.insert(0, ArgsPiece::Here(head));
    }
    Ok((list(&pieces), held))
}

/// What a persistent id names.
fn read_id(id: &str) -> Result<(ValueRef, Form), ApiError> {
    let (kind, name) = id.split_once(':').unwrap_or_default();
    let read = match kind {
        "blob" => name.parse().ok().map(|id| (ValueRef::Upload(id), Form::Loaded)),
        "bytes" => name.parse().ok().map(|id| (ValueRef::Upload(id), Form::Bytes)),
        "task" => name.parse().ok().map(|id| (ValueRef::Result(id), Form::Loaded)),
        _ => None,
    };
    read.ok_or_else(|| {
        ApiError::Payload(format!(
            "the payload has the persistent id `{}`, which names no value: `blob:ID` is what the pickle in an uploaded value \
             loads to, `bytes:ID` its bytes, `task:ID` the result of a task",
            shown(id)
        ))
    })
}

async fn found(
    store: &TenantStore<'_>,
    runtime: Runtime,
    value: ValueRef,
) -> Result<FoundValue, ApiError> {
    match (store.value(value).await?, value) {
        (ValueState::Found(found), ValueRef::Result(id)) => {
            check(id, &found, runtime).map(|()| found)
        }
        (ValueState::Found(found), ValueRef::Upload(_)) => Ok(found),
        (ValueState::NoResult(status), ValueRef::Result(id)) => {
            Err(ApiError::NoResult { id, status })
        }
        (ValueState::Unknown | ValueState::NoResult(_), value) => {
            Err(ApiError::UnknownValue(value))
        }
    }
}

/// What a sandboxed call has returned is untrusted: outside of the sandbox only data is loaded.
fn check(id: TaskId, found: &FoundValue, runtime: Runtime) -> Result<(), ApiError> {
    match (&found.made, runtime) {
        (Some((Runtime::Sandbox, kind)), Runtime::Native) if *kind != Some(ResultKind::Data) => {
            let globals = match kind {
                Some(ResultKind::Objects { globals, .. }) if !globals.is_empty() => {
                    format!("names `{}`", globals.join("`, `"))
                }
                _ => "cannot be read beforehand".to_owned(),
            };
            Err(ApiError::UnsafeValue { id, globals })
        }
        _ => Ok(()),
    }
}
