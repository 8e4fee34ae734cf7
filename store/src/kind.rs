//! Reads results statically before they are stored: what loading them runs.
//!
//! It happens here, in the process that writes to Redis, and not where the call ran: a guest is as untrusted as
//! its function, and a worker is trusted with its own tasks only, but a client decides by the answer whether
//! to load what somebody else's function made. The gateway passes on what stands in the record, and reads those
//! results alike that came with an event, which has no record.

use belljar_core::outcome::ResultKind;
use belljar_pickle::result_kind;
use bytes::Bytes;

use crate::blob::is_blob;
use crate::blob_files::BlobFiles;
use crate::record::Completion;
use crate::result_files;

/// What loading a result that is no blob runs; `None` where there is no result.
pub(crate) fn of_small(pickle: &[u8]) -> Option<ResultKind> {
    (!pickle.is_empty()).then(|| result_kind(pickle))
}

/// The same of each, in order. Blobs are read on a thread of their own, so that no other task waits for them.
pub(crate) async fn of_results(
    completions: &[Completion],
    files: Option<&BlobFiles>,
) -> Vec<Option<ResultKind>> {
    let mut kinds = Vec::with_capacity(completions.len());
    for one in completions {
        let pickle = one.report.outcome.verdict.pickle();
        if let Some(kind) = result_files::kind_of(one, files).await {
            kinds.push(Some(kind));
            continue;
        }
        kinds.push(if is_blob(&pickle) { Some(of_blob(pickle).await) } else { of_small(&pickle) });
    }
    kinds
}

async fn of_blob(pickle: Bytes) -> ResultKind {
    let read = tokio::task::spawn_blocking(move || of_bytes(&pickle)).await;
    read.unwrap_or_else(|_| unread("reading it failed"))
}

/// What loading a pickle runs.
pub(crate) fn of_bytes(pickle: &[u8]) -> ResultKind {
    result_kind(pickle)
}

/// That of a pickle that cannot be read.
pub(crate) fn unread(why: &str) -> ResultKind {
    ResultKind::Objects { globals: Vec::new(), unreadable: Some(why.to_owned()) }
}
