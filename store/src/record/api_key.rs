//! Keys of clients.

use belljar_core::api_key::Scopes;
use belljar_core::task::Runtime;
use belljar_core::tenant::Tenant;
use serde::{Deserialize, Serialize};

use super::task::Timestamp;

/// What the store has of a key: everything but the key itself. Times are by the clock of the machine that made
/// the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// What its operator calls it; not unique.
    pub name: String,
    /// Whose functions and tasks its holder sees and makes.
    pub tenant: Tenant,
    /// What its holder may do.
    pub scopes: Scopes,
    /// Where functions of its holder may run.
    pub runtimes: Vec<Runtime>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Since when it is revoked.
    pub revoked_at: Option<Timestamp>,
    /// The common name of the client certificates that stand for it; `None` for a key that is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// Whether a key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It is.
    Valid,
    /// Its time is over.
    Expired,
    /// An operator has revoked it.
    Revoked,
}

impl ApiKey {
    /// Whether it is taken at `now`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> KeyState {
        let is_over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        if is_over(self.revoked_at) {
            KeyState::Revoked
        } else if is_over(self.expires_at) {
            KeyState::Expired
        } else {
            KeyState::Valid
        }
    }
}
