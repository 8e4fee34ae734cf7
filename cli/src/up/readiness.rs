//! When the service is ready: each process that runs calls has started its executors and told the store. No
//! call goes through the queue for that, since other calls may wait in it for hours.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use belljar_core::task::TaskClass;
use belljar_store::Store;
use belljar_store::record::WorkerRecord;

use crate::exit::WithHint;

/// The pause between two looks at the workers.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the further classes may take to come up after the default one.
const FURTHER_CLASSES: Duration = Duration::from_secs(5);

/// What must be up, and where.
pub(super) struct Wanted {
    /// The processes that run calls.
    pub(super) pids: Vec<u32>,
    /// The class of functions that name neither runtime nor Python.
    pub(super) default: TaskClass,
    /// All classes that are installed.
    pub(super) installed: Vec<TaskClass>,
}

/// Waits until every process serves the default class, and a little longer for the other classes.
pub(super) async fn wait(store: &Store, wanted: &Wanted, timeout: Duration) -> Result<()> {
    let (mut deadline, mut is_default_up) = (Instant::now() + timeout, false);
    loop {
        let workers = store.workers().await;
        let late = |classes: &[TaskClass]| match &workers {
            Ok(workers) => {
                classes.iter().copied().find(|class| !is_served(workers, wanted, *class))
            }
            Err(_) => Some(wanted.default),
        };
        if !is_default_up && late(&[wanted.default]).is_none() {
            (deadline, is_default_up) = (Instant::now() + FURTHER_CLASSES, true);
        }
        let Some(late) = late(&wanted.installed) else { return Ok(()) };
        if Instant::now() > deadline {
            if is_default_up {
                tracing::warn!("functions for `{late}` are refused (422) until its executor is up");
                return Ok(());
            }
            workers?;
            return Err(anyhow!("no executor for `{late}` came up within {timeout:?}"))
                .hint("--log info shows why; `belljar doctor` checks the installation");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether all of the wanted processes serve a class.
fn is_served(workers: &[WorkerRecord], wanted: &Wanted, class: TaskClass) -> bool {
    let serves = |pid: &u32| {
        workers
            .iter()
            .any(|worker| worker.pid == *pid && worker.classes.iter().any(|it| it.serves(&class)))
    };
    wanted.pids.iter().all(serves)
}

#[cfg(test)]
mod tests {
    use belljar_core::id::{DispatcherId, WorkerId};
    use belljar_core::task::{PythonVersion, Runtime};
    use belljar_store::record::Timestamp;

    use super::*;

    #[test]
    fn a_class_is_served_when_every_process_serves_it() {
        let python = PythonVersion::default();
        let native = TaskClass::new(Runtime::Native, python);
        let sandbox = TaskClass::new(Runtime::Sandbox, python);
        let wanted = Wanted { pids: vec![1, 2], default: native, installed: vec![native, sandbox] };
        let worker = |pid, classes: &[TaskClass]| WorkerRecord {
            id: WorkerId::random(),
            dispatcher: DispatcherId::random(),
            mode: "local".to_owned(),
            host: "here".to_owned(),
            pid,
            version: String::new(),
            draining: false,
            slots: 1,
            busy: 0,
            classes: classes.to_vec(),
            guests: Vec::new(),
            since: Timestamp::default(),
        };
        let workers = [worker(1, &[native, sandbox]), worker(2, &[native]), worker(3, &[sandbox])];
        assert!(is_served(&workers, &wanted, native));
        assert!(!is_served(&workers, &wanted, sandbox));
        assert!(!is_served(&workers[..1], &wanted, native));
    }
}
