//! Why bytes are no pickle that Python could load here.
//!
//! Every variant is the sender's mistake, and every message names the byte where it shows.

/// What is wrong with a pickle. `at` is the offset of the opcode concerned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// There are no bytes.
    #[error("the pickle is empty")]
    Empty,
    /// Longer than any that this reader is meant for.
    #[error("the pickle has {length} bytes, and more than {} cannot be read", u32::MAX)]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// A byte where an opcode must be is none.
    #[error("byte {at} is `0x{byte:02x}`, which is no pickle opcode")]
    UnknownOpcode {
        /// Where.
        at: usize,
        /// The byte.
        byte: u8,
    },
    /// Written by a Python that is newer than any known one.
    #[error("byte {at} asks for pickle protocol {protocol}, and 5 is the newest known")]
    Protocol {
        /// Where.
        at: usize,
        /// The protocol asked for.
        protocol: u8,
    },
    /// The data end within an opcode's argument.
    #[error("truncated: `{opcode}` at byte {at} needs {need} more bytes and {left} are left")]
    Truncated {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
        /// Bytes that the argument claims.
        need: u64,
        /// Bytes that are there.
        left: usize,
    },
    /// The data end within an argument that ends with a newline.
    #[error("truncated: no newline ends the argument of `{opcode}` at byte {at}")]
    NoNewline {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
    },
    /// The data end between two opcodes.
    #[error("truncated: the data end at byte {at} without `STOP`")]
    NoStop {
        /// The length of the data.
        at: usize,
    },
    /// A length below zero.
    #[error("`{opcode}` at byte {at} claims the length {length}")]
    NegativeLength {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
        /// The length claimed.
        length: i32,
    },
    /// The text of an argument cannot be read: not UTF-8, a broken escape, missing quotes.
    #[error("`{opcode}` at byte {at} has a malformed text: {what}")]
    Text {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
        /// What is wrong with the text.
        what: &'static str,
    },
    /// The decimal number of an argument cannot be read.
    #[error("`{opcode}` at byte {at} has no number that Python can read")]
    Number {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
    },
    /// An opcode takes more objects than there are above the last mark.
    #[error("stack underflow: `{opcode}` at byte {at} needs {need} objects and finds {found}")]
    Underflow {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
        /// Objects needed.
        need: usize,
        /// Objects there, down to the last mark.
        found: usize,
    },
    /// An opcode takes all objects down to a mark, and there is no mark.
    #[error("`{opcode}` at byte {at} needs a mark and finds none")]
    NoMark {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
    },
    /// Keys and values do not pair up.
    #[error("`{opcode}` at byte {at} takes pairs and finds {found} objects")]
    OddItems {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
        /// Objects above the mark.
        found: usize,
    },
    /// An opcode takes an object that surely is of another type than it needs.
    #[error("`{opcode}` at byte {at} needs a {need} and finds {found}")]
    WrongType {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
        /// The type needed.
        need: &'static str,
        /// The type there, with its article.
        found: &'static str,
    },
    /// An object is fetched from the memo that was never put there.
    #[error("`{opcode}` at byte {at} fetches memo {index}, which was never stored")]
    MemoMissing {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
        /// The memo's index.
        index: u64,
    },
    /// A memo index that no pickler gives: Python would allocate a table of that size.
    #[error("`{opcode}` at byte {at} stores memo {index} in a pickle of {length} bytes")]
    MemoIndex {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
        /// The memo's index.
        index: u64,
        /// The length of the whole pickle.
        length: usize,
    },
    /// An opcode reaches over the end of its frame, or a frame begins within another.
    #[error("`{opcode}` at byte {at} crosses the end of its frame at byte {end}")]
    Frame {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
        /// Where the frame ends.
        end: usize,
    },
    /// `STOP` finds more than the one object that a pickle is.
    #[error("`STOP` at byte {at} finds {objects} objects and {marks} open marks on the stack")]
    LeftOver {
        /// Where.
        at: usize,
        /// Objects on the stack.
        objects: usize,
        /// Marks that nothing took.
        marks: usize,
    },
    /// Something follows the pickle.
    #[error("{extra} bytes follow the pickle, which ends at byte {at}")]
    TrailingData {
        /// The first byte after `STOP`.
        at: usize,
        /// How many bytes follow.
        extra: usize,
    },
    /// Names an object that only the sender's own unpickler could find.
    #[error("`{opcode}` at byte {at} names a persistent id, which only its writer can resolve")]
    PersistentId {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
    },
    /// Names a buffer that travels outside the pickle.
    #[error("`{opcode}` at byte {at} needs an out-of-band buffer, which did not come along")]
    Buffer {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
    },
    /// An extension code that cannot be registered.
    #[error("`{opcode}` at byte {at} names extension {code}, and codes begin at 1")]
    Extension {
        /// Where.
        at: usize,
        /// Which opcode.
        opcode: &'static str,
        /// The code.
        code: i32,
    },
}
