//! Reads results statically before they are stored: what loading them runs.
//!
//! It happens here, in the process that writes to Redis, and not where the call ran: a guest is as untrusted as
//! its function, and a worker is trusted with its own tasks only, but a client decides by the answer whether
//! to load what somebody else's function made. The gateway passes on what stands in the record, and reads those
//! results alike that came with an event, which has no record.

use std::io;

use belljar_core::limits::MAX_SANDBOX_RESULT_BYTES;
use belljar_core::outcome::ResultKind;
use belljar_pickle::result_kind;
use bytes::Bytes;

use crate::blob::is_blob;
use crate::blob_files::BlobFiles;
use crate::blob_name::Reference;
use crate::blobs::Blobs;
use crate::bucket::Bucket;
use crate::mapped_file::MappedFile;
use crate::record::Completion;

/// What loading a result that is no blob runs; `None` where there is no result.
pub(crate) fn of_small(pickle: &[u8]) -> Option<ResultKind> {
    (!pickle.is_empty()).then(|| result_kind(pickle))
}

/// The same of each, in order. Blobs are read on a thread of their own, so that no other task waits for them.
pub(crate) async fn of_results(
    completions: &[Completion],
    blobs: Option<&Blobs>,
) -> Vec<Option<ResultKind>> {
    let mut kinds = Vec::with_capacity(completions.len());
    for one in completions {
        let pickle = one.report.outcome.verdict.pickle();
        if let (Some(reference), Some(blobs)) = (Reference::of_result(&one.report), blobs) {
            kinds.push(Some(match blobs {
                Blobs::Directory(files) => of_file(files, reference).await,
                Blobs::Bucket(bucket) => of_object(bucket, reference).await,
            }));
            continue;
        }
        kinds.push(if is_blob(&pickle) { Some(of_blob(pickle).await) } else { of_small(&pickle) });
    }
    kinds
}

async fn of_blob(pickle: Bytes) -> ResultKind {
    let read = tokio::task::spawn_blocking(move || result_kind(&pickle)).await;
    read.unwrap_or_else(|_| unread("reading it failed".to_owned()))
}

/// That of a file, of which no more is read than is looked at.
async fn of_file(files: &BlobFiles, reference: Reference) -> ResultKind {
    let read = files.blocking(move |inner| {
        let file = MappedFile::open(&inner.open(&reference)?, reference.bytes)?;
        Ok(result_kind(file.bytes()))
    });
    read.await.unwrap_or_else(|error| unread(error.to_string()))
}

/// That of an object, which comes to a file first. The sandbox has none that are longer, and what else has run is trusted.
async fn of_object(bucket: &Bucket, reference: Reference) -> ResultKind {
    let bytes = reference.bytes;
    if bytes > MAX_SANDBOX_RESULT_BYTES {
        return unread(format!(
            "it has {bytes} bytes in a bucket, of which nobody has looked at the names"
        ));
    }
    let file = match bucket.to_file(reference).await {
        Ok(file) => file,
        Err(error) => return unread(error.to_string()),
    };
    let read = tokio::task::spawn_blocking(move || {
        Ok::<_, io::Error>(result_kind(MappedFile::open(&file, bytes)?.bytes()))
    });
    match read.await {
        Ok(Ok(kind)) => kind,
        Ok(Err(error)) => unread(error.to_string()),
        Err(_) => unread("reading it failed".to_owned()),
    }
}

fn unread(why: String) -> ResultKind {
    ResultKind::Objects { globals: Vec::new(), unreadable: Some(why) }
}
