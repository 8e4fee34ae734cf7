//! Faults on purpose: real processes over a real Redis, under load, of which one is killed at an exact
//! moment, or one of whose connections is broken; and a checker of what clients and tasks saw.
//!
//! # Layout
//!
//! * [`cell`]: which fault, where; the matrix of all. * [`run`]: one cell, as often as is asked.
//! * [`cluster`]: the processes. * `control`: stops them at fail points. * [`proxy`]: breaks connections.
//! * [`load`]: the clients. * [`pickle`]: the few pickles that they need.
//! * [`history`]: what they saw. * [`checker`]: what of it breaks a promise. * [`report`]: the table.

pub mod cell;
pub mod checker;
pub mod cluster;
mod control;
pub mod history;
pub mod load;
pub mod pickle;
pub mod proxy;
pub mod report;
pub mod run;
