//! When the service is ready: each process that runs calls has started its executors and told the store. No
//! call goes through the queue for that, since other calls may wait in it for hours.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use belljar_core::task::TaskClass;
use serde::Deserialize;

use crate::exit::WithHint;

/// The pause between two looks at the workers.
const PAUSE: Duration = Duration::from_millis(20);
/// How long one request to the gateway may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the further classes may take to come up after the default one.
const FURTHER_CLASSES: Duration = Duration::from_secs(5);
/// The most workers on one page of the list.
const PAGE: usize = 1000;

/// What must be up, and where.
pub(super) struct Wanted {
    /// The processes that run calls.
    pub(super) pids: Vec<u32>,
    /// The class of functions that name neither runtime nor Python.
    pub(super) default: TaskClass,
    /// All classes that are installed.
    pub(super) installed: Vec<TaskClass>,
}

/// The list of workers, as the gateway tells it.
#[derive(Deserialize)]
struct Workers {
    items: Vec<Worker>,
}

#[derive(Deserialize)]
struct Worker {
    pid: u32,
    classes: BTreeSet<String>,
}

/// Waits until every process serves the default class, and a little longer for the other classes.
pub(super) async fn wait(base: &str, wanted: &Wanted, timeout: Duration) -> Result<()> {
    let config = ureq::Agent::config_builder().timeout_global(Some(REQUEST_TIMEOUT)).proxy(None);
    let agent = ureq::Agent::new_with_config(config.build());
    let url = format!("{base}/v1/workers?limit={PAGE}");
    let (mut deadline, mut is_default_up) = (Instant::now() + timeout, false);
    loop {
        let workers = workers(&agent, &url).await;
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
fn is_served(workers: &[Worker], wanted: &Wanted, class: TaskClass) -> bool {
    let class = class.to_string();
    let serves = |pid: &u32| {
        workers.iter().any(|worker| worker.pid == *pid && worker.classes.contains(&class))
    };
    wanted.pids.iter().all(serves)
}

async fn workers(agent: &ureq::Agent, url: &str) -> Result<Vec<Worker>> {
    let (agent, url) = (agent.clone(), url.to_owned());
    let request = move || -> Result<Workers> {
        let mut response = agent.get(&url).call().context(url)?;
        Ok(response.body_mut().read_json()?)
    };
    let workers =
        tokio::task::spawn_blocking(request).await.context("the request was cancelled")??;
    Ok(workers.items)
}

#[cfg(test)]
mod tests {
    use belljar_core::task::{PythonVersion, Runtime};

    use super::*;

    #[test]
    fn a_class_is_served_when_every_process_serves_it() {
        let python = PythonVersion::default();
        let native = TaskClass { runtime: Runtime::Native, python };
        let sandbox = TaskClass { runtime: Runtime::Sandbox, python };
        let wanted = Wanted { pids: vec![1, 2], default: native, installed: vec![native, sandbox] };
        let worker = |pid, classes: &[TaskClass]| Worker {
            pid,
            classes: classes.iter().map(ToString::to_string).collect(),
        };
        let workers = [worker(1, &[native, sandbox]), worker(2, &[native]), worker(3, &[sandbox])];
        assert!(is_served(&workers, &wanted, native));
        assert!(!is_served(&workers, &wanted, sandbox));
        assert!(!is_served(&workers[..1], &wanted, native));
    }
}
