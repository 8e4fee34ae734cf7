//! The part of the REST interface that measurements need. Requests that are measured have types of their
//! own, so that the client costs little; the others are read as they come.

use std::borrow::Cow;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::http::Connection;

/// The service's limit of tasks in one batch, and of ids in one request for results.
pub(crate) const MAX_BATCH: usize = 10_000;
/// How long one request waits for results, in seconds.
const WAIT_S: u32 = 60;

/// A client over one connection.
#[derive(Debug)]
pub(crate) struct Client {
    connection: Connection,
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
    priority: &'a str,
}

#[derive(Serialize)]
struct ResultsRequest<'a> {
    task_ids: &'a [&'a str],
    wait: u32,
}

#[derive(Deserialize)]
struct TaskId {
    task_id: String,
}

#[derive(Deserialize)]
struct TaskIds {
    task_ids: Vec<String>,
}

/// A task in the answers of `/result` and `/v1/results`.
#[derive(Debug, Deserialize)]
pub(crate) struct Ended<'a> {
    #[serde(borrow)]
    pub(crate) task_id: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    result: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(borrow)]
    results: Vec<Ended<'a>>,
}

/// The conservation counters of the service.
#[derive(Debug, Deserialize)]
pub(crate) struct Audit {
    pub(crate) consistent: bool,
    /// Number of waiting tasks.
    pub(crate) entries_queued: usize,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { connection: Connection::open(address).await? })
    }

    /// A client over this connection.
    pub(crate) const fn new(connection: Connection) -> Self {
        Self { connection }
    }

    pub(crate) async fn register(
        &mut self,
        name: &str,
        payload: &str,
        runtime: &str,
    ) -> Result<String> {
        let body = json!({"name": name, "payload": payload, "runtime": runtime});
        let reply = self.connection.post("/register_function", body.to_string()).await?;
        let reply: Value = serde_json::from_slice(&reply)?;
        Ok(reply["function_id"].as_str().context("no function id")?.to_owned())
    }

    /// Submits a call and waits for its end in one request: its id, and the difference from the expected
    /// result if there is one.
    ///
    /// # Errors
    /// It did not end in time: the next ones would not either.
    pub(crate) async fn call(
        &mut self,
        function_id: &str,
        payload: &str,
        expected: &str,
    ) -> Result<(String, Result<(), String>)> {
        let body = serde_json::to_vec(&Submission { function_id, payload })?;
        let path = format!("/execute_function?wait={WAIT_S}");
        let reply = self.connection.post(&path, body).await?;
        let ended = Ended::read(&reply)?;
        Ok((ended.task_id.to_string(), ended.verify(expected)))
    }

    /// Submits a call, then asks for its result: the classic pair of requests.
    pub(crate) async fn call_in_two(
        &mut self,
        function_id: &str,
        payload: &str,
        expected: &str,
    ) -> Result<Result<(), String>> {
        let body = serde_json::to_vec(&Submission { function_id, payload })?;
        let reply = self.connection.post("/execute_function", body).await?;
        let task_id = serde_json::from_slice::<TaskId>(&reply)?.task_id;
        let reply = self.connection.get(&format!("/result/{task_id}?wait={WAIT_S}")).await?;
        Ok(Ended::read(&reply)?.verify(expected))
    }

    /// Submits one batch of at most [`MAX_BATCH`] tasks.
    pub(crate) async fn submit_batch(
        &mut self,
        function_id: &str,
        payloads: &[&str],
        priority: &str,
    ) -> Result<Vec<String>> {
        let body = serde_json::to_vec(&Batch { function_id, payloads, priority })?;
        let ids = self.submit_body(body).await?;
        ensure!(ids.len() == payloads.len(), "{} ids for {} tasks", ids.len(), payloads.len());
        Ok(ids)
    }

    /// Submits the body of a batch.
    pub(crate) async fn submit_body(
        &mut self,
        body: impl Into<bytes::Bytes>,
    ) -> Result<Vec<String>> {
        let reply = self.connection.post("/v1/tasks", body).await?;
        Ok(serde_json::from_slice::<TaskIds>(&reply)?.task_ids)
    }

    /// Waits until one of the tasks at least has ended; [`ended`] reads the answer.
    pub(crate) async fn results(&mut self, task_ids: &[&str]) -> Result<bytes::Bytes> {
        let body = serde_json::to_vec(&ResultsRequest { task_ids, wait: WAIT_S })?;
        self.connection.post("/v1/results", body).await
    }

    pub(crate) async fn cancel(&mut self, task_id: &str) -> Result<()> {
        self.connection.post(&format!("/v1/tasks/{task_id}/cancel"), "").await.map(drop)
    }

    pub(crate) async fn is_running(&mut self, task_id: &str) -> Result<bool> {
        Ok(self.read(&format!("/status/{task_id}")).await?["status"] == "RUNNING")
    }

    /// The milliseconds of a phase of a task, in `durations_ms` of its record.
    pub(crate) async fn durations(&mut self, task_id: &str) -> Result<Value> {
        Ok(self.read(&format!("/v1/tasks/{task_id}")).await?["durations_ms"].take())
    }

    /// The slots of all workers that have joined.
    pub(crate) async fn slots(&mut self) -> Result<usize> {
        let slots = self.read("/readyz").await?["slots"].as_u64();
        Ok(usize::try_from(slots.context("no slots")?)?)
    }

    pub(crate) async fn audit(&mut self) -> Result<Audit> {
        Ok(serde_json::from_value(self.read("/v1/audit").await?)?)
    }

    async fn read(&mut self, path: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.connection.get(path).await?)?)
    }
}

impl<'a> Ended<'a> {
    fn read(reply: &'a [u8]) -> Result<Self> {
        let ended: Self = serde_json::from_slice(reply)?;
        let is_over = !matches!(ended.status.as_ref(), "QUEUED" | "RUNNING");
        ensure!(is_over, "task {} is {} after {WAIT_S} s", ended.task_id, ended.status);
        Ok(ended)
    }

    /// Compares the result with the expected one.
    pub(crate) fn verify(&self, expected: &str) -> Result<(), String> {
        if self.status == "COMPLETED" && self.result == expected {
            return Ok(());
        }
        let result: String = self.result.chars().take(200).collect();
        Err(format!("task {}: {} with `{}`", self.task_id, self.status, result.trim_end()))
    }
}

/// The tasks in an answer to [`Client::results`].
///
/// # Errors
/// There is none: it took too long.
pub(crate) fn ended(reply: &[u8]) -> Result<Vec<Ended<'_>>> {
    let results: Results<'_> = serde_json::from_slice(reply).context("not a list of results")?;
    ensure!(!results.results.is_empty(), "no task has ended within {WAIT_S} s");
    Ok(results.results)
}
