//! The ways to workers.

pub(crate) mod local;
