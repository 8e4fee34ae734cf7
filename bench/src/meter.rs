//! The processor time that a piece of work costs: of every process of a service, and of the client.

use crate::process::{self, Usage};
use crate::service::Service;

/// How figures name this process.
pub(crate) const CLIENT: &str = "client";

/// Begun before the work.
#[derive(Debug)]
pub(crate) struct Meter {
    /// `None` for a service that was not started here: its processes may be anywhere.
    pid: Option<u32>,
    before: Usage,
    client: f64,
}

/// Seconds of processor time.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    /// Of each part that used any.
    pub(crate) parts: Usage,
    /// Of all together.
    pub(crate) total: f64,
}

impl Meter {
    pub(crate) fn begin(service: &Service) -> Self {
        let pid = service.pid();
        Self {
            pid,
            before: pid.map(process::usage).unwrap_or_default(),
            client: process::own_seconds(),
        }
    }

    /// What the work has cost; `None` where that cannot be known.
    pub(crate) fn end(self) -> Option<Cost> {
        let client = process::own_seconds() - self.client;
        let after = process::usage(self.pid?);
        let mut parts = process::between(&self.before, &after);
        let total = process::total(&self.before, &after) + client;
        parts.insert(CLIENT, client);
        Some(Cost { parts, total })
    }
}
