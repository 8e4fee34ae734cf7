//! Pickles, read without executing anything, and the few that the platform itself writes.
mod write;
pub use write::exception;
