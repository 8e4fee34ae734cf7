//! Slots and executors: runs invocations in child processes, one call at a time each, and says what
//! every call came to. Knows nothing of Redis, HTTP or scheduling.
//!
//! # Layout
//!
//! * [`pool`]: N slots over one small backlog; the entry for a dispatcher or a transport.
//! * [`event`]: what a pool tells its owner.
//! * `slot`: runs one job after the other. * `backlog`: what runs, waits and is free; pure.
//! * `pace`: how long calls take, and so how much is worth holding ahead; pure.
//! * `shared`: what slots and handles share.
//! * `executor`: the interface, and the one implementation over a child process and its spares.
//! * `child`: a process that answers calls: start, exchange, output, death.
//! * [`transport`]: serves a remote dispatcher with a pool; the entry for a worker process.
//! * [`config`]: what a pool is made of.
//! * [`error`]: what can go wrong that is not the function's doing.

mod backlog;
mod child;
pub mod config;
pub mod error;
pub mod event;
mod executor;
mod pace;
pub mod pool;
mod shared;
mod slot;
pub mod transport;
