//! Slots and executors: runs invocations, each in an instance that takes one call at a time, and reports how
//! every call ended. Knows nothing of Redis, the gateway or scheduling.
//!
//! # Layout
//!
//! * [`pool`]: N slots over one small backlog; the entry for a dispatcher or a transport.
//! * [`event`]: what a pool tells its owner.
//! * [`executor`]: the seam to what runs Python, its implementations, and the table of the runtimes.
//! * [`install`]: where the parts of an installation are.
//! * [`transport`]: serves a remote dispatcher with a pool; the entry for a worker process.
//! * [`config`]: what a pool is made of.
//! * [`metrics`]: what a pool counts.
//! * [`error`]: what can go wrong that is not the function's doing.
//! * [`packages`]: installs packages that functions ask for.
//! * [`http_proxy`]: makes the HTTP requests of sandboxed calls.
//! * `slot`: runs one job after the other.
//! * `standby`: the instance that is started ahead of need.
//! * `backlog`: what runs, waits and is free; pure.
//! * `duration_estimator`: how long calls take, and so how many are worth holding ahead; pure.
//! * [`live`]: shows running calls.
//! * `shared`: what slots and handles share, and housekeeping.
//! * `traces`: spans of calls that are traced.
//! * `child`: a process that answers calls: start, exchange, output, death.

mod backlog;
mod child;
pub mod config;
mod duration_estimator;
pub mod error;
pub mod event;
pub mod executor;
pub mod http_proxy;
pub mod install;
pub mod live;
pub mod metrics;
pub mod packages;
pub mod pool;
mod shared;
mod slot;
mod standby;
mod traces;
pub mod transport;

pub use child::ChildCommand;
