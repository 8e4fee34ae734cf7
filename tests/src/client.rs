//! A client of the REST interface.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// The longest reply that is read.
const MAX_BODY_BYTES: u64 = 1 << 30;

/// A response: its status and its JSON.
pub type Response = (u16, Value);

/// A client of one service; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    agent: ureq::Agent,
    key: Option<String>,
}

impl Client {
    /// A client of the service at `base`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self::with_timeout(base, Duration::from_secs(90))
    }

    /// A client that gives up on an answer after `timeout`.
    #[must_use]
    pub fn with_timeout(base: &str, timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder();
        let config = config.timeout_global(Some(timeout));
        let config = config.http_status_as_error(false).proxy(None).build();
        Self { base: base.to_owned(), agent: ureq::Agent::new_with_config(config), key: None }
    }

    /// The same client, which shows a key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(format!("Bearer {key}")), ..self.clone() }
    }

    /// Where the service is.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A GET.
    ///
    /// # Errors
    /// There is no answer, or it is not JSON.
    pub fn get(&self, path: &str) -> Result<Response> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("authorization", key);
        }
        let mut response = request.call()?;
        let status = response.status().as_u16();
        Ok((status, response.body_mut().with_config().limit(MAX_BODY_BYTES).read_json()?))
    }

    /// The body of a GET, as it comes.
    ///
    /// # Errors
    /// There is no answer, or it is no success.
    pub fn stream(&self, path: &str) -> Result<impl BufRead + use<>> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("authorization", key);
        }
        let response = request.call()?;
        let status = response.status().as_u16();
        ensure!(status == 200, "{path}: {status}");
        Ok(BufReader::new(response.into_body().into_reader()))
    }

    /// A POST.
    ///
    /// # Errors
    /// There is no answer, or it is not JSON.
    pub fn post(&self, path: &str, body: &Value) -> Result<Response> {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("authorization", key);
        }
        let mut response = request.send_json(body)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MAX_BODY_BYTES).read_json()?;
        Ok((status, body))
    }

    /// A PUT of bytes.
    ///
    /// # Errors
    /// There is no answer, or it is not JSON.
    pub fn put(&self, path: &str, body: &[u8]) -> Result<Response> {
        let mut request = self.agent.put(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("authorization", key);
        }
        let mut response = request.send(body)?;
        Ok((response.status().as_u16(), response.body_mut().read_json()?))
    }

    /// A DELETE.
    ///
    /// # Errors
    /// There is no answer, or it is not JSON.
    pub fn delete(&self, path: &str) -> Result<Response> {
        let mut request = self.agent.delete(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("authorization", key);
        }
        let mut response = request.call()?;
        Ok((response.status().as_u16(), response.body_mut().read_json()?))
    }

    /// Registers a function; `more` adds fields.
    ///
    /// # Errors
    /// It is refused.
    pub fn register(&self, payload: &str, more: Value) -> Result<String> {
        let mut body = json!({"name": "test", "payload": payload});
        merge(&mut body, more);
        let (status, reply) = self.post("/register_function", &body)?;
        let id = reply["function_id"].as_str();
        Ok(id.with_context(|| format!("{status}: {reply}"))?.to_owned())
    }

    /// Submits a call; `more` adds fields.
    ///
    /// # Errors
    /// It is refused.
    pub fn submit(&self, function_id: &str, args: &str, more: Value) -> Result<String> {
        let mut body = json!({"function_id": function_id, "payload": args});
        merge(&mut body, more);
        let (status, reply) = self.post("/execute_function", &body)?;
        let id = reply["task_id"].as_str();
        Ok(id.with_context(|| format!("{status}: {reply}"))?.to_owned())
    }

    /// Submits many calls of one function.
    ///
    /// # Errors
    /// They are refused.
    pub fn submit_batch(&self, function_id: &str, args: &[String]) -> Result<Vec<String>> {
        let body = json!({"function_id": function_id, "payloads": args});
        let (status, reply) = self.post("/v1/tasks", &body)?;
        let ids = reply["task_ids"].as_array();
        let ids = ids.with_context(|| format!("{status}: {reply}"))?.iter();
        Ok(ids.map(|id| id.as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Waits for a task to end: its status and its result.
    ///
    /// # Errors
    /// There is no answer.
    pub fn wait(&self, task_id: &str, seconds: u64) -> Result<(String, String)> {
        let (status, reply) = self.get(&format!("/result/{task_id}?wait={seconds}"))?;
        let text = |name: &str| reply[name].as_str().map(str::to_owned);
        let both = text("status").zip(text("result"));
        both.with_context(|| format!("{status}: {reply}"))
    }

    /// The whole record of a task.
    ///
    /// # Errors
    /// There is no answer.
    pub fn record(&self, task_id: &str) -> Result<Value> {
        Ok(self.get(&format!("/v1/tasks/{task_id}"))?.1)
    }
}

fn merge(body: &mut Value, more: Value) {
    if let (Value::Object(body), Value::Object(more)) = (body, more) {
        body.extend(more);
    }
}
