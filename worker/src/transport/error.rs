//! What ends a worker process before its time.

use belljar_core::message::RejectReason;
use belljar_wire::ConnectError;

/// Why a worker cannot serve. A connection that breaks is none of these: it is made again.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The dispatcher will not have this worker, now or later.
    #[error("the dispatcher refuses this worker: {text}{}", hint(*reason))]
    Refused {
        /// Why, for programs.
        reason: RejectReason,
        /// Why, in the dispatcher's words.
        text: String,
    },
    /// The dispatcher has not shown that it holds this worker's secret.
    #[error(
        "the dispatcher does not hold this worker's secret\n  hint: give both sides the same secret"
    )]
    Unproved,
    /// TLS cannot be set up.
    #[error("the worker cannot connect")]
    Connect(#[source] ConnectError),
}

const fn hint(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::Version => "\n  hint: run the same version of belljar on both sides",
        RejectReason::Secret => "\n  hint: give both sides the same secret",
        RejectReason::Blobs => {
            "\n  hint: give both sides the same directory or bucket by --blobs, or the worker none"
        }
        RejectReason::DeliveryMode => "\n  hint: start the worker in the dispatcher's mode",
        RejectReason::Session | RejectReason::Unavailable | RejectReason::Malformed => "",
    }
}
