//! The REST interface, as far as measuring needs it.

use std::borrow::Cow;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::http::Connection;

/// The most tasks of one batch, and the most ids of one question: the service's own limit.
pub(crate) const MAX_BATCH: usize = 10_000;
/// How long one request waits for results, in seconds.
const WAIT_S: u32 = 60;

/// A client over one connection.
#[derive(Debug)]
pub(crate) struct Client {
    connection: Connection,
}

/// What is sent to have a function kept.
#[derive(Debug, Serialize)]
struct Registration<'a> {
    name: &'a str,
    payload: &'a str,
    runtime: &'a str,
}

#[derive(Serialize)]
struct Submission<'a> {
    function_id: &'a str,
    payload: &'a str,
}

#[derive(Serialize)]
struct Batch<'a> {
    function_id: &'a str,
    payloads: &'a [&'a str],
    priority: Priority,
}

/// The lane of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Priority {
    /// Before all others.
    High,
    /// What a task gets that says nothing.
    Normal,
    /// After all others.
    Low,
}

#[derive(Serialize)]
struct Question<'a> {
    task_ids: &'a [&'a str],
    wait: u32,
}

#[derive(Deserialize)]
struct FunctionId {
    function_id: String,
}

#[derive(Deserialize)]
struct TaskId {
    task_id: String,
}

#[derive(Deserialize)]
struct TaskIds {
    task_ids: Vec<String>,
}

/// A task as `/result` and `/v1/results` tell it.
#[derive(Debug, Deserialize)]
pub(crate) struct Ended<'a> {
    #[serde(borrow)]
    pub(crate) task_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) status: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) result: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(borrow)]
    results: Vec<Ended<'a>>,
}

/// Where the time of a task went, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Durations {
    pub(crate) queue: Option<f64>,
    pub(crate) slot: Option<f64>,
    pub(crate) instance: Option<f64>,
    pub(crate) decode: Option<f64>,
    pub(crate) call: Option<f64>,
    pub(crate) encode: Option<f64>,
}

#[derive(Deserialize)]
struct Status {
    status: String,
}

#[derive(Deserialize)]
struct Record {
    durations_ms: Durations,
}

/// How many slots the service has.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Readiness {
    pub(crate) slots: usize,
}

/// The conservation counters of the service.
#[derive(Debug, Deserialize)]
pub(crate) struct Audit {
    pub(crate) consistent: bool,
    /// How many tasks wait.
    pub(crate) entries_queued: usize,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { connection: Connection::open(address).await? })
    }

    pub(crate) async fn register(
        &mut self,
        name: &str,
        payload: &str,
        runtime: &str,
    ) -> Result<String> {
        let body = serde_json::to_vec(&Registration { name, payload, runtime })?;
        let reply = self.connection.post("/register_function", body).await?;
        Ok(serde_json::from_slice::<FunctionId>(&reply)?.function_id)
    }

    /// Submits a call and waits for its end in one request: its id, and whether it ended with the
    /// result `expected`, else what came.
    ///
    /// # Errors
    /// It has not ended in time: something is amiss, and waiting for the next ones would tell no more.
    pub(crate) async fn call(
        &mut self,
        function_id: &str,
        payload: &str,
        expected: &str,
    ) -> Result<(String, Result<(), String>)> {
        let body = serde_json::to_vec(&Submission { function_id, payload })?;
        let path = format!("/execute_function?wait={WAIT_S}");
        let reply = self.connection.post(&path, body).await?;
        let ended: Ended<'_> = serde_json::from_slice(&reply)?;
        let is_over = !matches!(ended.status.as_ref(), "QUEUED" | "RUNNING");
        ensure!(is_over, "task {} is {} after {WAIT_S} s", ended.task_id, ended.status);
        Ok((ended.task_id.to_string(), ended.verify(expected)))
    }

    /// Submits a call, then asks for its end: the classic pair of requests.
    pub(crate) async fn call_in_two(
        &mut self,
        function_id: &str,
        payload: &str,
        expected: &str,
    ) -> Result<Result<(), String>> {
        let body = serde_json::to_vec(&Submission { function_id, payload })?;
        let reply = self.connection.post("/execute_function", body).await?;
        let task_id = serde_json::from_slice::<TaskId>(&reply)?.task_id;
        let path = format!("/result/{task_id}?wait={WAIT_S}");
        let reply = self.connection.get(&path).await?;
        let ended: Ended<'_> = serde_json::from_slice(&reply)?;
        let is_over = !matches!(ended.status.as_ref(), "QUEUED" | "RUNNING");
        ensure!(is_over, "task {task_id} is {} after {WAIT_S} s", ended.status);
        Ok(ended.verify(expected))
    }

    /// Submits one batch of at most [`MAX_BATCH`] tasks.
    pub(crate) async fn submit_batch(
        &mut self,
        function_id: &str,
        payloads: &[&str],
        priority: Priority,
    ) -> Result<Vec<String>> {
        let body = serde_json::to_vec(&Batch { function_id, payloads, priority })?;
        let reply = self.connection.post("/v1/tasks", body).await?;
        let ids = serde_json::from_slice::<TaskIds>(&reply)?.task_ids;
        ensure!(ids.len() == payloads.len(), "{} ids for {} tasks", ids.len(), payloads.len());
        Ok(ids)
    }

    /// The answer to one question for the ends of tasks, to be read by [`ended`].
    pub(crate) async fn results(&mut self, task_ids: &[&str]) -> Result<bytes::Bytes> {
        let body = serde_json::to_vec(&Question { task_ids, wait: WAIT_S })?;
        self.connection.post("/v1/results", body).await
    }

    pub(crate) async fn status(&mut self, task_id: &str) -> Result<String> {
        let reply = self.connection.get(&format!("/status/{task_id}")).await?;
        Ok(serde_json::from_slice::<Status>(&reply)?.status)
    }

    pub(crate) async fn cancel(&mut self, task_id: &str) -> Result<()> {
        self.connection.post(&format!("/v1/tasks/{task_id}/cancel"), "").await.map(drop)
    }

    pub(crate) async fn durations(&mut self, task_id: &str) -> Result<Durations> {
        let reply = self.connection.get(&format!("/v1/tasks/{task_id}")).await?;
        Ok(serde_json::from_slice::<Record>(&reply)?.durations_ms)
    }

    pub(crate) async fn readiness(&mut self) -> Result<Readiness> {
        Ok(serde_json::from_slice(&self.connection.get("/readyz").await?)?)
    }

    pub(crate) async fn audit(&mut self) -> Result<Audit> {
        Ok(serde_json::from_slice(&self.connection.get("/v1/audit").await?)?)
    }
}

impl Ended<'_> {
    pub(crate) fn verify(&self, expected: &str) -> Result<(), String> {
        if self.status == "COMPLETED" && self.result == expected {
            return Ok(());
        }
        let result: String = self.result.chars().take(200).collect();
        Err(format!("task {}: {} with `{}`", self.task_id, self.status, result.trim_end()))
    }
}

/// The tasks in an answer to [`Client::results`]; there is one at least, or it took too long.
pub(crate) fn ended(reply: &[u8]) -> Result<Vec<Ended<'_>>> {
    let results: Results<'_> = serde_json::from_slice(reply).context("not a list of results")?;
    ensure!(!results.results.is_empty(), "no task has ended within {WAIT_S} s");
    Ok(results.results)
}
