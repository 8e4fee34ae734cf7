//! What a pool is made of, and the limits that have names.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use belljar_core::grants::Offers;
use belljar_core::task::TaskClass;

/// How the children of one class are started.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// The class of tasks that these children run.
    pub class: TaskClass,
    /// The binary: `belljar-python` or `belljar-sandbox`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment: nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// How long a child may take to say that it is ready.
    pub start_timeout: Duration,
}

impl ExecutorConfig {
    /// Children of `program`, without arguments and environment.
    #[must_use]
    pub fn new(class: TaskClass, program: PathBuf) -> Self {
        let (args, env) = (Vec::new(), Vec::new());
        Self { class, program, args, env, start_timeout: Duration::from_secs(30) }
    }
}

/// A pool of slots.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// How many calls run at once.
    pub slots: usize,
    /// What can run, one for each class. Every slot starts a child of the first at once, of the
    /// others when it is first asked to. Those of another Python than the first's come up after it.
    pub executors: Vec<ExecutorConfig>,
    /// What functions may ask for.
    pub offers: Offers,
}
