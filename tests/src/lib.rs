//! What the end-to-end tests share: a whole service on a free port over its own Redis, a client for its
//! REST interface, and a Python that serializes as clients do.
//!
//! # Layout
//!
//! * [`service`]: `belljar up`, started, watched, killed. * [`part`]: one process of a service that a
//!   test puts together. * [`parts`]: those of a service with workers. * [`client`]: REST and JSON.
//! * [`examples`]: the functions of `guest-examples/`. * [`python`]: dill, cloudpickle and pickle in a
//!   real interpreter. * [`process`]: the process table.

pub mod client;
pub mod examples;
pub mod part;
pub mod parts;
pub mod process;
pub mod python;
pub mod service;

pub use client::Client;
pub use part::Part;
pub use parts::Parts;
pub use python::Python;
pub use service::Service;
