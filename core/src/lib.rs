//! The vocabulary of belljar: what a task is, which moves its status may make, what an executor
//! answers, and the bytes that travel between processes. No I/O and no clock.
//!
//! # Layout
//!
//! * [`access`]: what a call reached and what it was refused.
//! * [`api_key`]: keys of clients, and what they allow.
//! * [`args`]: arguments that have values elsewhere.
//! * [`id`]: task, function, dispatcher and worker ids.
//! * [`tenant`]: whom functions and tasks belong to.
//! * [`task`]: status and its legal moves, runtime, Python version, class, priority, limits, spec.
//! * [`labels`]: what workers have and functions ask for, such as a GPU.
//! * [`grants`]: what a function may reach: requests and policies.
//! * [`requirements`]: packages that a function asks for, and those that were chosen for it.
//! * [`session`]: calls that go on where the one before has ended.
//! * [`sha256`]: hashes, and how they are written.
//! * [`http`]: which HTTP requests are granted, and what is noted of them.
//! * [`guest`]: what a guest of the sandbox lacks.
//! * [`files`]: files that go into a call and come out of it. [`collection`]: what a call leaves of them.
//! * [`outcome`]: the outcome of a call: verdict, failure kinds, phases, output tails.
//! * [`result_file`]: where long results are. [`shared_blobs`]: how slots reach large values.
//! * [`live`]: what a running call shows before it ends: output and progress.
//! * [`warm`]: whether a sandboxed function starts with its modules imported.
//! * [`word`]: words that are none of those expected.
//! * [`trace`]: which trace a task belongs to, and the ids of its spans.
//! * `exception`: pickles of builtin exceptions, for failures that the platform finds.
//! * [`invocation`]: a task on its way to a slot.
//! * [`limits`]: bounds on bytes that several crates share.
//! * [`message`]: the messages between dispatchers and workers.
//! * `pythons`: which Python is the default one.
//! * [`frame`]: length-prefixed messages between a worker's slot and its child process.

pub mod access;
pub mod api_key;
pub mod args;
pub mod collection;
mod exception;
pub mod files;
pub mod frame;
pub mod grants;
pub mod guest;
pub mod http;
pub mod id;
pub mod invocation;
pub mod labels;
pub mod limits;
pub mod live;
pub mod message;
pub mod outcome;
mod pythons;
pub mod requirements;
pub mod result_file;
pub mod session;
pub mod sha256;
pub mod shared_blobs;
pub mod task;
pub mod tenant;
pub mod trace;
pub mod warm;
pub mod word;
