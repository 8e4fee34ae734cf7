//! HTTP requests of sandboxed functions: which are granted, and what is noted of each.
//!
//! # Layout
//!
//! * [`pattern`]: which requests a grant is about.
//! * [`target`]: where a request goes, in the one form that is compared with patterns and sent.
//! * `path`: paths without a second meaning.
//! * here: limits, and the notes in the record of a task.

mod path;
pub mod pattern;
pub mod target;

use serde::{Deserialize, Serialize};

pub use pattern::{HttpPattern, InvalidPattern};
pub use target::{HttpTarget, InvalidTarget};

/// Requests that one call may make.
pub const HTTP_REQUESTS: u32 = 100;
/// The longest request, with headers and body, in bytes.
pub const HTTP_REQUEST_BYTES: usize = 8 << 20;
/// The longest body of a response, in bytes.
pub const HTTP_RESPONSE_BYTES: usize = 16 << 20;
/// The longest headers of a request or response, in bytes.
pub const HTTP_HEADER_BYTES: usize = 64 << 10;
/// The most headers of a request or response.
pub const HTTP_HEADERS: usize = 100;
/// Requests of a call that its record tells of: the first ones.
pub const HTTP_NOTES: usize = 20;
/// The longest URL, and the longest reason, in a note, in bytes.
pub const HTTP_NOTE_BYTES: usize = 256;

/// The requests that a call made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpLog {
    /// How many there were, also those that were refused.
    pub total: u32,
    /// The first [`HTTP_NOTES`] of them.
    pub requests: Vec<HttpNote>,
}

/// What is noted of one request: nothing of its query, headers and body, since secrets may be there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpNote {
    /// Its method.
    pub method: String,
    /// Its URL without the query.
    pub url: String,
    /// The status that the server answered with.
    pub status: Option<u16>,
    /// Why there was no answer, or why it was not passed on.
    pub error: Option<String>,
    /// Bytes of its body.
    pub request_bytes: u64,
    /// Bytes of the body of the answer.
    pub response_bytes: u64,
    /// Wall-clock time in milliseconds.
    pub elapsed_ms: u64,
}

/// `text`, cut to [`HTTP_NOTE_BYTES`].
#[must_use]
pub fn noted(text: &str) -> String {
    match text.len() {
        0..=HTTP_NOTE_BYTES => text.to_owned(),
        _ => format!("{}...", &text[..text.floor_char_boundary(HTTP_NOTE_BYTES - 3)]),
    }
}
