//! What the tests of all crates share. It depends on no other crate of the workspace, so each of them can
//! use it in its tests.
//!
//! # Layout
//!
//! * [`authority`]: an authority that signs certificates.
//! * [`bucket`]: an S3 server with a bucket.
//! * `injection`: system calls made in another process, on x86-64.
//! * [`paths`]: where tests find what was built and installed.
//! * [`program`]: a program that prints its address.
//! * [`redis`]: a private `redis-server`.
//! * [`sentinel`]: sentinels, which promote a replica of a server that dies.
//! * [`python`]: an interpreter that serializes as clients do.
//! * [`process`]: the process table, and waiting for what no event announces.

pub mod authority;
pub mod bucket;
#[cfg(target_arch = "x86_64")]
pub mod injection;
pub mod paths;
pub mod process;
pub mod program;
pub mod python;
pub mod redis;
pub mod sentinel;

pub use authority::Authority;
pub use bucket::Bucket;
pub use paths::{binary, root};
pub use process::eventually;
pub use program::Program;
pub use python::Python;
pub use redis::Redis;
pub use sentinel::Sentinels;
