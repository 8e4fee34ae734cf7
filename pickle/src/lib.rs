//! Reads pickles without executing anything, and turns payloads into text and back.
//!
//! [`inspect`] walks the opcodes of a pickle the way Python's unpickler does, with a kind in place
//! of each object: it finds whether the bytes are one whole pickle, whether what they make may be
//! callable, which globals and modules they name, and which Pythons can run the bytecode in them.
//! It is no judge of what is safe to load. [`result_kind`] is: it tells pickles that make plain values from
//! those that name anything else.
//!
//! # Layout
//!
//! * `walk`, `containers`, `calls`: the walk over the opcodes; those that make and fill containers;
//!   those that name globals and call things.
//! * `kind`: whether a pickle names more than plain values.
//! * `inspection`: what the walk finds out.
//! * `opcode`, `reader`, `text`: opcodes, their arguments, and the texts in these.
//! * `machine`, `value`: the stack, the marks and the memo, and what stands there for an object.
//! * `names`, `shapes`: globals and modules; tuples whose contents matter.
//! * `bytecode`, `python_hint`: which Python compiled a code object.
//! * `splice`: puts values in place of persistent ids.
//! * `error`: what can be wrong with a pickle.
//! * [`payload`]: the base64 text form of serialized objects.

mod bytecode;
mod calls;
mod containers;
mod error;
mod inspection;
mod kind;
mod machine;
mod names;
mod opcode;
pub mod payload;
mod python_hint;
mod reader;
mod shapes;
mod splice;
mod text;
mod value;
mod walk;

pub use error::PickleError;
pub use inspection::{Inspection, Reference, TopObject};
pub use kind::{MAX_GLOBAL_BYTES, MAX_RESULT_GLOBALS, data_globals, result_kind};
pub use names::Global;
pub use python_hint::PythonHint;
pub use splice::{Splice, spliced};
pub use walk::{inspect, inspect_referring};
