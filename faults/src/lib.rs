//! Fault injection: a service of real processes runs under load while one process is killed at an exact
//! moment, or one connection is broken. A checker then compares what clients and tasks saw with the promises.
//!
//! # Layout
//!
//! * [`scenario`]: which fault, where, in which mode. [`matrix`]: all of them.
//! * [`run`]: runs one scenario.
//! * [`cluster`]: the processes.
//! * `servers`: Redis, alone or behind sentinels, and a bucket.
//! * `control`: stops them at fail points.
//! * [`proxy`]: breaks connections.
//! * [`load`]: the clients. `any_client`: one of several gateways.
//! * [`pickle`]: the few pickles that they need.
//! * [`history`]: what clients and tasks saw.
//! * [`checker`]: finds the promises that a history breaks.
//! * [`report`]: the table.

mod any_client;
pub mod checker;
pub mod cluster;
mod control;
pub mod history;
pub mod load;
pub mod matrix;
pub mod pickle;
pub mod proxy;
pub mod report;
pub mod run;
pub mod scenario;
mod servers;
