//! What the walk over a pickle finds out.

use crate::names::Global;
use crate::python_hint::PythonHint;

/// What a pickle is, as far as it is known without loading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The protocol that it declares; 0 for protocols 0 and 1, which declare none.
    pub protocol: u8,
    /// What loading it gives.
    pub top: TopObject,
    /// The globals that it names, each once, in order of appearance; at most 1,024.
    pub globals: Vec<Global>,
    /// The modules that it names, each once: those of the globals, the module objects in it, and
    /// what its functions import. With dots where the pickle has dots; at most 1,024.
    pub modules: Vec<String>,
    /// The Pythons that can run the bytecode in it.
    pub python: PythonHint,
}

/// A place in a pickle where a persistent id stands for a value outside of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Where its opcode is, one byte long: the id stands on the stack then.
    pub at: usize,
    /// Where the opcode of the frame is that it stands in, if it stands in one.
    pub frame: Option<usize>,
    /// The id.
    pub id: String,
}

impl Inspection {
    /// Whether loading the pickle may give something that can be called.
    #[must_use]
    pub const fn may_be_callable(&self) -> bool {
        !matches!(self.top, TopObject::Plain(_))
    }
}

/// What loading a pickle gives. Its text reads after "the payload is".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopObject {
    /// An object of a builtin type whose objects cannot be called; its name with an article.
    Plain(&'static str),
    /// A class, function or other object by reference.
    Global(Global),
    /// What calling something made: any object. What was called, where it has a name.
    Made(Option<Global>),
    /// It is not known.
    Unknown,
}

impl std::fmt::Display for TopObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(name) => f.write_str(name),
            Self::Global(global) => write!(f, "`{global}`"),
            Self::Made(Some(global)) => write!(f, "what `{global}` makes"),
            Self::Made(None) => f.write_str("what a call makes"),
            Self::Unknown => f.write_str("an unknown object"),
        }
    }
}
