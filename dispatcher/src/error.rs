//! The errors that end a dispatcher.

use belljar_store::StoreError;
use belljar_wire::ListenError;

/// Why a dispatcher cannot start or go on. The failure of a task is never one of these.
#[derive(Debug, thiserror::Error)]
pub enum DispatcherError {
    /// The store cannot be reached at the start, or is unsuitable.
    #[error("the dispatcher cannot use the store")]
    Store(#[from] StoreError),
    /// The port for workers cannot be opened.
    #[error("the dispatcher cannot open its port for workers")]
    Listen(#[from] ListenError),
    /// The socket for workers has failed, which no peer can cause.
    #[error("the socket for workers has failed")]
    SocketFailed,
}
