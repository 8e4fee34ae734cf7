//! How a child process is started.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use belljar_core::limits::MAX_INLINE_RESULT_MB;
use belljar_core::shared_blobs::SharedBlobs;

/// The command of a child process that speaks the frame protocol (`belljar_core::frame`).
#[derive(Debug, Clone)]
pub struct ChildCommand {
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment: nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Whether the process is a supervisor, which ends at SIGTERM, once it has killed its descendants. Any other
    /// is killed.
    pub has_supervisor: bool,
    /// The longest pickle that a call may return or raise, in bytes.
    pub max_result_bytes: usize,
    /// The directory or bucket of blobs, where long results go; `None` keeps them in memory.
    pub blobs: Option<SharedBlobs>,
    /// How long it may take to say that it is ready.
    pub start_timeout: Duration,
}

impl ChildCommand {
    /// `program` without arguments and environment.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            args: Vec::new(),
            env: Vec::new(),
            has_supervisor: false,
            max_result_bytes: (MAX_INLINE_RESULT_MB as usize) << 20,
            blobs: None,
            start_timeout: Duration::from_secs(30),
        }
    }

    /// The same with `name value` at the end of its arguments.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.args.extend([name.into(), value.into()]);
        self
    }
}
