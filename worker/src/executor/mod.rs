//! The seam between slots and what runs Python: the [`Executor`] of a class and the [`Instance`]s that it
//! starts.
//!
//! Slots, backlog, standby, deadlines of the queue and reports are the pool's. An executor starts
//! instances, and an instance runs one call at a time. A new kind of executor is a type with these two
//! traits, and one row in [`RUNTIMES`].
//!
//! # Layout
//!
//! * `native`: CPython in a child process.
//! * `sandbox`: the sandbox in a child process.
//! * `process`: what these two share: an instance over a child process.
//! * `folder`: the working directory of a native call with files.
//! * `host_memory`: the memory of a sandbox's process, limited from outside.
//! * `sent_code`: the functions that a child has.
//! * `deadline`: a timer that costs nothing while calls end before their deadline.

mod deadline;
mod folder;
mod host_memory;
mod native;
mod process;
mod sandbox;
mod sent_code;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use belljar_core::invocation::Invocation;
use belljar_core::outcome::Outcome;
use belljar_core::requirements::PackageLock;
use belljar_core::task::{PythonVersion, Runtime, TaskClass};
use tokio_util::sync::CancellationToken;

use crate::error::{NotInstalled, StartError};
use crate::event::ExecutorInfo;
use crate::install::Installation;
use crate::live::Live;

pub use native::NativeExecutor;
pub use sandbox::SandboxExecutor;

/// Runs the calls of one class. A pool has one for each class, and its slots share it.
#[async_trait]
pub trait Executor: fmt::Debug + Send + Sync {
    /// The class of tasks that it runs.
    fn class(&self) -> TaskClass;

    /// Starts an instance and waits until it takes calls.
    ///
    /// The pool keeps one instance started ahead of need. After a failure it tries again, ever more slowly;
    /// after three in a row it reports the class as down.
    ///
    /// # Errors
    /// The instance did not come up in its time. Nothing of it is left.
    async fn start(&self) -> Result<Started, StartError>;

    /// The same for functions that ask for packages: it runs no others. A slot starts it when a call needs it.
    ///
    /// # Errors
    /// The packages cannot be had, or the instance did not come up.
    async fn start_with(&self, packages: &PackageLock) -> Result<Started, StartError>;
}

/// A new instance, and what it says of itself.
#[derive(Debug)]
pub struct Started {
    /// The instance.
    pub instance: Box<dyn Instance>,
    /// What it says of itself.
    pub info: ExecutorInfo,
}

/// Runs one call at a time. A slot owns it.
///
/// Dropping an instance ends it and everything that it started, soon and without waiting.
#[async_trait]
pub trait Instance: fmt::Debug + Send {
    /// Whether it can run no further call, although nobody called it: it died while idle. Asked before
    /// each call, so it must be cheap. Where the answer is wrong, the call fails as `ExecutorDied`.
    fn is_stale(&self) -> bool;

    /// Runs one call to its end. Whatever the function does is an outcome, also that it kills its process
    /// or passes its deadline, `invocation.limits.timeout()` from now.
    ///
    /// Once `cancel` is cancelled the code is stopped, and the verdict is `Cancelled` unless the call ended
    /// first. No code of the call runs any more when this returns. What the call says of its progress meanwhile goes to
    /// `live`.
    async fn run(
        self: Box<Self>,
        invocation: &Invocation,
        cancel: &CancellationToken,
        live: &Live<'_>,
    ) -> Ran;

    /// Ends the instance and everything that it started, and waits until it has ended.
    async fn end(self: Box<Self>);
}

/// A call that has ended.
#[derive(Debug)]
pub struct Ran {
    /// How it ended. `None` where it did not begin, as the instance could run no call any more: then another runs it.
    pub outcome: Option<Outcome>,
    /// The instance, where it can run another call.
    pub instance: Option<Box<dyn Instance>>,
}

/// Makes the executor of a Python, or says what is missing for it.
pub type MakeExecutor = fn(&Installation, PythonVersion) -> Result<Arc<dyn Executor>, NotInstalled>;

/// A runtime as a worker serves it.
#[derive(Debug)]
pub struct RuntimeSupport {
    /// Which runtime this is. Its name is in `belljar_core::task`.
    pub runtime: Runtime,
    /// The program that stands beside `belljar`.
    pub program: &'static str,
    /// The command that installs what is missing.
    pub remedy: &'static str,
    /// The Pythons that an installation may have for it, the default one first.
    pub pythons: fn(&Installation) -> Vec<PythonVersion>,
    /// The executor of one of these, or what is missing for it.
    pub executor: MakeExecutor,
}

/// Every runtime, the preferred one first. Commands, `belljar doctor` and pools derive from this table.
pub const RUNTIMES: &[RuntimeSupport] = &[native::SUPPORT, sandbox::SUPPORT];
