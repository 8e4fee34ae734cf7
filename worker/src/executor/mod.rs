//! What runs an invocation.

pub(crate) mod deadline;
pub(crate) mod process;
pub(crate) mod supply;

use belljar_core::invocation::Invocation;
use belljar_core::outcome::Outcome;
use tokio_util::sync::CancellationToken;

use crate::error::ExecutorBroken;

/// Runs one invocation at a time.
pub(crate) trait Executor {
    /// Runs an invocation. Whatever the function does is an outcome, also that it killed its process
    /// or passed its deadline.
    ///
    /// # Errors
    /// The executor cannot run anything: the invocation has not started.
    async fn execute(
        &mut self,
        invocation: &Invocation,
        cancel: &CancellationToken,
    ) -> Result<Outcome, ExecutorBroken>;

    /// Ends what the executor holds, and waits until it has ended.
    async fn end(&mut self);
}
