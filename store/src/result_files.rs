//! Results that workers have written to their files or objects themselves: they are published without being in memory as a whole.

use std::borrow::Cow;
use std::io;
use std::iter::zip;

use belljar_core::outcome::{CallVerdict, Failure, FailureKind};
use bytes::Bytes;

use crate::Store;
use crate::blob_name::Reference;
use crate::blobs::{Blobs, no_directory};
use crate::error::StoreError;
use crate::record::Completion;

impl Store {
    /// Makes keys for results that are in files. Where a file is not whole, or the server has no memory for its key, the call fails: what
    /// ended cannot wait.
    pub(crate) async fn take_result_files<'a>(
        &self,
        part: &'a [Completion],
    ) -> Result<Cow<'a, [Completion]>, StoreError> {
        let mut part = Cow::Borrowed(part);
        for index in 0..part.len() {
            let Some(reference) = Reference::of_result(&part[index].report) else { continue };
            let why = match self.take_result_file(reference).await {
                Ok(()) => continue,
                Err(StoreError::RefusesWrites(..)) => {
                    "it cannot be kept: the memory of Redis is full".to_owned()
                }
                Err(StoreError::UnwrittenBlob(error)) => {
                    format!("it cannot be found: {error}")
                }
                Err(error) => return Err(error),
            };
            let text = format!("the result of {} bytes is lost: {why}", reference.bytes);
            tracing::error!(task_id = %part[index].report.task.task_id, "{text}");
            let failure = Failure::by_platform(FailureKind::Limit, text);
            part.to_mut()[index].report.outcome.verdict = CallVerdict::Failed(failure);
        }
        Ok(part)
    }

    async fn take_result_file(&self, reference: Reference) -> Result<(), StoreError> {
        match &self.inner.blobs {
            None => return Err(StoreError::UnwrittenBlob(no_directory())),
            Some(Blobs::Directory(files)) => {
                files.adopt(reference).await.map_err(StoreError::UnwrittenBlob)?;
            }
            // While it does not answer, the worker's word counts: what is not there then cannot be read later.
            Some(Blobs::Bucket(bucket)) => {
                if matches!(bucket.has(reference).await, Ok(false)) {
                    let why = "the bucket has no such object".to_owned();
                    return Err(StoreError::UnwrittenBlob(io::Error::other(why)));
                }
            }
        }
        fail::fail_point!("result_written");
        self.put_reference("complete", reference).await?;
        fail::fail_point!("result_keyed");
        Ok(())
    }
}

/// Has the rows of results in files name them: their lengths stand there, as of other blobs.
pub(crate) fn name_in(part: &[Completion], rows: &mut [(&'static str, Vec<u8>, Bytes)]) {
    for (one, (letter, _, result)) in zip(part, rows) {
        if let Some(reference) = Reference::of_result(&one.report) {
            (*letter, *result) = ("c", reference.bytes.to_string().into());
        }
    }
}
