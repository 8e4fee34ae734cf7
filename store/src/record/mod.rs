//! What the store takes and gives out.
//!
//! # Layout
//!
//! * [`task`]: functions and tasks as clients see them.
//! * [`dispatch`]: what passes between the store and dispatchers.
//! * [`audit`]: counters and queue lengths.
//! * [`session`]: sessions as clients see them.
//! * [`api_key`]: keys of clients.

pub mod api_key;
pub mod audit;
pub mod dispatch;
pub mod session;
pub mod task;

pub use crate::usage::*;
pub use api_key::*;
pub use audit::*;
pub use dispatch::*;
pub use session::*;
pub use task::*;
