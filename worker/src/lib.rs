//! Slots and executors: runs invocations in child processes, one call at a time each, and says what
//! every call came to. Knows nothing of Redis, HTTP or scheduling.
//!
//! # Layout
//!
//! * [`pool`]: N slots over one small backlog; the entry for a dispatcher or a transport.
//! * [`config`]: what a pool is made of, and the limits that have names.
//! * [`error`]: what can go wrong that is not the function's doing.

pub mod config;
pub mod error;
pub mod pool;
