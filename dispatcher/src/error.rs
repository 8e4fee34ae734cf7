//! What ends a dispatcher.

use belljar_store::StoreError;

/// Why a dispatcher could not start or go on. A task's failure is never one of these.
#[derive(Debug, thiserror::Error)]
pub enum DispatcherError {
    /// The store cannot be reached at the start, or is unfit.
    #[error("the dispatcher cannot use the store")]
    Store(#[from] StoreError),
}
