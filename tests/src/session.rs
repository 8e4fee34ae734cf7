//! Sessions by REST.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{Client, Service};

/// A session of a service.
pub struct Session<'a> {
    /// Where it is.
    pub service: &'a Service,
    /// Whose it is.
    pub client: Client,
    /// The function that runs a source text.
    pub run: String,
    /// Its id.
    pub id: String,
}

impl<'a> Session<'a> {
    /// A new one, of the default tenant.
    ///
    /// # Errors
    /// It is refused.
    pub fn new(service: &'a Service) -> Result<Self> {
        Self::of(service, service.client.clone(), json!({}))
    }

    /// A new one of a client; `fields` are those of the request.
    ///
    /// # Errors
    /// It is refused.
    pub fn of(service: &'a Service, client: Client, fields: Value) -> Result<Self> {
        let (status, made) = client.post("/v1/sessions", &fields)?;
        let id = made["session_id"].as_str().with_context(|| format!("{status}: {made}"))?;
        // The pickle of `belljar_session.run`.
        let run =
            client.register("Y2JlbGxqYXJfc2Vzc2lvbgpydW4KLg==", json!({"runtime": "sandbox"}))?;
        Ok(Self { service, run, id: id.to_owned(), client })
    }

    /// Another one of the same client.
    #[must_use]
    pub fn with_id(&self, id: String) -> Self {
        Self { id, run: self.run.clone(), client: self.client.clone(), service: self.service }
    }

    /// Submits a step; its task.
    ///
    /// # Errors
    /// It is refused.
    pub fn submit(&self, source: &str) -> Result<String> {
        let args = self.service.python.dumps("", &format!("(({},), {{}})", json!(source)))?;
        self.client.submit(&self.run, &args, json!({"session_id": self.id}))
    }

    /// The `repr` of what a step comes to.
    ///
    /// # Errors
    /// It is refused, or does not complete.
    pub fn value(&self, source: &str) -> Result<String> {
        self.ended(&self.submit(source)?)
    }

    /// The `repr` of what a task of it comes to.
    ///
    /// # Errors
    /// It does not complete.
    pub fn ended(&self, task: &str) -> Result<String> {
        let (status, result) = self.client.wait(task, 60)?;
        let value = self.service.python.loads(&result)?.repr;
        ensure!(status == "COMPLETED", "{status}: {value}");
        Ok(value)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/v1/sessions/{}", self.id)
    }

    /// What the service says of it.
    ///
    /// # Errors
    /// There is no answer.
    pub fn record(&self) -> Result<Value> {
        Ok(self.client.get(&self.path())?.1)
    }
}
