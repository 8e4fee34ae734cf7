//! Values that arguments refer to: what was uploaded, and results of other tasks.

use belljar_core::args::{self, ArgsPiece, ValueRef};
use belljar_core::id::TaskId;
use belljar_core::limits::MAX_SENT_ARGS_BYTES;
use belljar_core::outcome::ResultKind;
use belljar_core::task::{Runtime, TaskStatus};
use belljar_core::tenant::Tenant;
use bytes::{Bytes, BytesMut};
use futures_util::future::try_join_all;

use crate::Store;
use crate::blob_files::HELD_ON;
use crate::blob_name::{BlobName, REFERENCE_BYTES, Reference};
use crate::blobs::{Blobs, lost, no_directory};
use crate::error::StoreError;
use crate::task_record::corrupt;

/// A value that a task may refer to.
#[derive(Debug, Clone)]
pub struct FoundValue {
    /// Its length.
    pub bytes: u64,
    /// Of a result, where it was made and what loading it runs.
    pub made: Option<(Runtime, Option<ResultKind>)>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Here(Bytes),
    File(Reference),
    Object(Reference),
}

/// What is known of a value by its name.
#[derive(Debug, Clone)]
pub enum ValueState {
    /// Nothing.
    Unknown,
    /// It is the result of a task that has none, or not yet.
    NoResult(TaskStatus),
    /// It is there.
    Found(FoundValue),
}

/// A file that a task is to hold, under a number of its own; or an object.
#[derive(Debug, Clone)]
pub struct HeldFile {
    index: u32,
    value: ValueRef,
    file: Reference,
}

impl FoundValue {
    /// The value as a piece of arguments. What is in a file is to be held by their task, under the number `index`.
    #[must_use]
    pub fn piece(&self, value: ValueRef, index: u32) -> (ArgsPiece, Option<HeldFile>) {
        match &self.content {
            Content::Here(bytes) => (ArgsPiece::Here(bytes.clone()), None),
            Content::File(file) => {
                let held = HeldFile { index, value, file: *file };
                (ArgsPiece::Held(index, self.bytes), Some(held))
            }
            Content::Object(file) => {
                let held = HeldFile { index, value, file: *file };
                (ArgsPiece::File(file.object().into(), self.bytes), Some(held))
            }
        }
    }
}

impl Store {
    /// What is known of a value of a tenant. One that was uploaded is kept for longer then.
    pub(crate) async fn value_of(
        &self,
        tenant: &Tenant,
        value: ValueRef,
    ) -> Result<ValueState, StoreError> {
        match value {
            ValueRef::Upload(id) => {
                let found = self.use_upload_of(tenant, id).await?;
                Ok(found.map_or(ValueState::Unknown, |value| {
                    let content = self.content(value.reference());
                    ValueState::Found(FoundValue { bytes: value.bytes, made: None, content })
                }))
            }
            ValueRef::Result(id) => self.result_value(tenant, id).await,
        }
    }

    async fn result_value(&self, tenant: &Tenant, id: TaskId) -> Result<ValueState, StoreError> {
        let found = self.task(id).await?.filter(|task| task.tenant == *tenant);
        let Some(task) = found else { return Ok(ValueState::Unknown) };
        if task.status != TaskStatus::Completed {
            return Ok(ValueState::NoResult(task.status));
        }
        let key = self.inner.keys.result_blob(id);
        let mut head = redis::cmd("GETRANGE");
        head.arg(key).arg(0).arg(REFERENCE_BYTES - 1);
        let head: Bytes = self.ask("result", &head).await?;
        let content = match Reference::read(&head) {
            Some(reference) => self.content(reference),
            None => match self.results_of(Some(tenant), &[id], u64::MAX).await?.pop().flatten() {
                Some(result) => Content::Here(result.result),
                None => return Ok(ValueState::Unknown),
            },
        };
        let made = Some((task.spec.class.runtime, task.kind));
        Ok(ValueState::Found(FoundValue { bytes: task.result_bytes, made, content }))
    }

    fn content(&self, reference: Reference) -> Content {
        match self.inner.blobs {
            Some(Blobs::Bucket(_)) => Content::Object(reference),
            _ => Content::File(reference),
        }
    }

    /// Holds values for tasks that are about to be submitted. What is held for one that is not accepted is let go after a while.
    ///
    /// # Errors
    /// [`StoreError::UnknownValue`]: one is not there any more. Or the directory cannot be written to.
    pub async fn hold(&self, holds: Vec<(TaskId, HeldFile)>) -> Result<(), StoreError> {
        if holds.is_empty() {
            return Ok(());
        }
        let blobs = self.blobs()?;
        let held = holds.into_iter().map(async |(task, held)| {
            let is_held = match blobs {
                Blobs::Directory(files) => {
                    let name = BlobName::Held(task, held.index);
                    files.hold(held.file.name, name).await.map_err(StoreError::UnwrittenBlob)?
                }
                Blobs::Bucket(_) => self.hold_object(task, held.file).await?,
            };
            if is_held { Ok(()) } else { Err(StoreError::UnknownValue(held.value)) }
        });
        try_join_all(held).await?;
        fail::fail_point!("values_held");
        Ok(())
    }

    /// Notes that a task refers to an object in the bucket; false where its key does not name that any more.
    async fn hold_object(&self, task: TaskId, object: Reference) -> Result<bool, StoreError> {
        let keys = &self.inner.keys;
        let key = object.name.later_key(keys).unwrap_or_else(|| object.name.key(keys));
        let mut call = self.inner.scripts.hold.call(4, 384);
        call.arg(key).arg(object.text()).arg(keys.holders(&object.object())).arg(task.to_string());
        call.run(self).await
    }

    /// Has objects go, or not be held any more, that tasks needed which have ended; in a while: a server that is killed may have
    /// forgotten that they have. A sweep finds what is left when this process ends.
    pub(crate) fn let_go(&self, needed: Vec<(TaskId, Reference)>) {
        let Some(Blobs::Bucket(bucket)) = self.inner.blobs.clone().filter(|_| !needed.is_empty())
        else {
            return;
        };
        let store = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(HELD_ON).await;
            for (task, object) in needed {
                if object.name == BlobName::Args(task) {
                    bucket.remove(object).await;
                    continue;
                }
                let mut command = redis::cmd("SREM");
                command.arg(store.inner.keys.holders(&object.object())).arg(task.to_string());
                let _ = store.ask::<u64>("let go", &command).await;
            }
        });
    }

    /// Arguments as they are, or put together from their pieces. Long ones stay in pieces where slots can read them, and those in
    /// files are named, as [`Store::named_from`] says.
    pub(crate) async fn whole_args(
        &self,
        id: TaskId,
        args: Bytes,
        may_name: bool,
        named_from: Option<u64>,
    ) -> Result<Bytes, StoreError> {
        if !args::is_list(&args) {
            return Ok(args);
        }
        let mut pieces =
            args::pieces(&args).map_err(|error| corrupt(id, &format!("its arguments: {error}")))?;
        let what = || format!("a value that the arguments of task {id} refer to");
        let bytes = pieces.iter().map(ArgsPiece::bytes).sum();
        let by_name = may_name && named_from.is_some_and(|from| bytes >= from);
        if !by_name && bytes > MAX_SENT_ARGS_BYTES {
            let limit = MAX_SENT_ARGS_BYTES;
            return Err(match may_name {
                true => StoreError::ArgsTooLarge { bytes, limit },
                false => StoreError::SessionTooLarge { bytes, limit },
            });
        }
        let mut held = 0;
        for piece in &mut pieces {
            match (&*piece, self.inner.blobs.as_ref()) {
                (ArgsPiece::Held(index, bytes), Some(Blobs::Directory(files))) => {
                    held = held.max(index + 1);
                    let reference = Reference::new(BlobName::Held(id, *index), *bytes);
                    let read = if by_name {
                        files.named(reference).await.map(|path| ArgsPiece::File(path, *bytes))
                    } else {
                        files.read(reference).await.map(ArgsPiece::Here)
                    };
                    *piece = read.map_err(|error| lost(&what(), &error))?;
                }
                (ArgsPiece::File(object, bytes), Some(blobs @ Blobs::Bucket(bucket))) => {
                    let object = object.to_str().unwrap_or_default();
                    let reference = Reference::of_object(object, *bytes)
                        .ok_or_else(|| corrupt(id, "it refers to no object"))?;
                    bucket.claimed(id, reference);
                    if by_name {
                        continue;
                    }
                    let read = bucket.read(reference).await;
                    *piece = ArgsPiece::Here(read.map_err(|error| blobs.unread(&what(), error))?);
                }
                // One that slots read is named already.
                (ArgsPiece::Here(_), _) | (ArgsPiece::File(..), Some(Blobs::Directory(_))) => {}
                (ArgsPiece::Held(..) | ArgsPiece::File(..), _) => {
                    return Err(lost(&what(), &no_directory()));
                }
            }
        }
        if let Some(Blobs::Directory(files)) = &self.inner.blobs {
            files.claimed(id, held);
        }
        if by_name {
            return Ok(args::list(&pieces));
        }
        let mut whole = BytesMut::with_capacity(usize::try_from(bytes).unwrap_or(0));
        for piece in &pieces {
            if let ArgsPiece::Here(bytes) = piece {
                whole.extend_from_slice(bytes);
            }
        }
        Ok(whole.freeze())
    }
}
