//! A client of all gateways.

use std::cell::Cell;
use std::time::Duration;

use anyhow::Result;
use belljar_tests::Client;
use belljar_tests::client::Response;
use serde_json::Value;

/// Where one gateway does not answer or cannot serve, it asks the next one the next time.
#[derive(Debug)]
pub(crate) struct AnyClient {
    clients: Vec<Client>,
    at: Cell<usize>,
}

impl AnyClient {
    /// One that begins with the gateway of this number, counted around.
    pub(crate) fn new(bases: &[String], timeout: Duration, first: usize) -> Self {
        let clients = bases.iter().map(|base| Client::with_timeout(base, timeout));
        Self { clients: clients.collect(), at: Cell::new(first % bases.len()) }
    }

    /// Asks one of them.
    pub(crate) fn ask(&self, ask: impl FnOnce(&Client) -> Result<Response>) -> Result<Response> {
        let at = self.at.get();
        let response = ask(&self.clients[at]);
        if !matches!(response, Ok((status, _)) if status < 500) {
            self.at.set((at + 1) % self.clients.len());
        }
        response
    }

    /// A GET of `path`.
    pub(crate) fn get(&self, path: &str) -> Result<Response> {
        self.ask(|client| client.get(path))
    }

    /// A POST of `body` to `path`.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.ask(|client| client.post(path, body))
    }
}
