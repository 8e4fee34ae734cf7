//! The pool of a worker: which executors it has, and how many slots.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use belljar_core::labels::Labels;
use belljar_core::limits::MAX_INLINE_RESULT_MB;
use belljar_core::shared_blobs::SharedBlobs;
use belljar_core::task::{PythonVersion, TaskClass};
use belljar_worker::config::PoolConfig;
use belljar_worker::error::NotInstalled;
use belljar_worker::install::Installation;

use crate::args::{ExecutorArgs, RequirementsArgs, Runtimes};
use crate::exit::WithHint;
use crate::install::{self, with_hint};

/// A pool with one executor for each of these runtimes and each Python, on a worker with these labels and packages, and this directory
/// or bucket for large values. An executor that is not installed is
/// left out with a warning, unless its runtime is the only one asked for.
pub(crate) fn pool_config(
    slots: usize,
    runtimes: Runtimes,
    (labels, requirements): (Labels, &RequirementsArgs),
    args: &ExecutorArgs,
    blobs: Option<SharedBlobs>,
) -> Result<PoolConfig> {
    let mut executors = Vec::new();
    if let (Some(mib), None) = (args.max_result_mb, &blobs)
        && mib > MAX_INLINE_RESULT_MB
    {
        return Err(anyhow!(
            "--max-result-mb {mib}: results of more than {MAX_INLINE_RESULT_MB} MiB need a place for large values"
        ))
        .hint("--blobs names it");
    }
    let mut installation = Installation { labels, blobs, ..install::installation(args)? };
    if let Some(index) = &requirements.requirements {
        installation.packages = Some(Arc::new(install::packages(index, args, &installation)?));
    }
    for (class, found) in install::executors(runtimes, &installation) {
        let is_required = class.python == PythonVersion::default() && runtimes != Runtimes::All;
        match found {
            Ok(executor) => executors.push(executor),
            Err(missing) if is_required => return Err(with_hint(missing)),
            Err(missing) => tracing::warn!("{}", refused(class, &missing)),
        }
    }
    if executors.is_empty() {
        return Err(anyhow!("no runtime is installed"))
            .hint("`belljar doctor` shows what is missing");
    }
    Ok(PoolConfig::new(slots, executors))
}

/// The slots of a worker: as many as asked for, else one per processor.
pub(crate) fn slots(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// What it means for users that an executor is not installed.
pub(crate) fn refused(class: TaskClass, missing: &NotInstalled) -> String {
    let refused = format!("functions for `{class}` are refused (422)");
    match missing {
        NotInstalled::Walls(_) => format!("{refused}: {missing}; `belljar doctor` shows a way"),
        _ => format!("{refused} until it is installed: {missing}"),
    }
}
