//! What ends a dispatcher.

use belljar_store::StoreError;
use belljar_wire::ListenError;

/// Why a dispatcher could not start or go on. A task's failure is never one of these.
#[derive(Debug, thiserror::Error)]
pub enum DispatcherError {
    /// The store cannot be reached at the start, or is unfit.
    #[error("the dispatcher cannot use the store")]
    Store(#[from] StoreError),
    /// The port for workers cannot be opened.
    #[error("the dispatcher cannot open its port for workers")]
    Listen(#[from] ListenError),
    /// The socket for workers has failed, which nothing in the network can cause.
    #[error("the socket for workers has failed")]
    SocketFailed,
}
