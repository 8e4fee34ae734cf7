//! What the reader knows about an object: its kind and one number, in four bytes.
//!
//! A hostile pickle can push one object with every byte, so the model of the stack has to be small:
//! a pickle costs at most about eight bytes of memory for each of its own.

/// The kind of an object on the unpickler's stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    None,
    Bool,
    Int,
    Float,
    Complex,
    /// Detail: where its opcode is.
    Bytes,
    /// Detail: where its opcode is.
    Text,
    Bytearray,
    List,
    Dict,
    Set,
    Frozenset,
    Range,
    Slice,
    /// Detail: which of the shapes that the walker keeps.
    Tuple,
    /// Detail: which of the globals.
    Global,
    /// What calling something gave. Detail: which of the globals was called.
    Made,
    /// `types.CodeType`, however it was fetched.
    CodeType,
    /// Nothing is known: extensions.
    Unknown,
}

const KINDS: [Kind; 19] = [
    Kind::None,
    Kind::Bool,
    Kind::Int,
    Kind::Float,
    Kind::Complex,
    Kind::Bytes,
    Kind::Text,
    Kind::Bytearray,
    Kind::List,
    Kind::Dict,
    Kind::Set,
    Kind::Frozenset,
    Kind::Range,
    Kind::Slice,
    Kind::Tuple,
    Kind::Global,
    Kind::Made,
    Kind::CodeType,
    Kind::Unknown,
];

impl Kind {
    /// The name of the type for messages; `None` when its objects may be callable.
    pub(super) const fn plain_name(self) -> Option<&'static str> {
        Some(match self {
            Self::None => "None",
            Self::Bool => "a bool",
            Self::Int => "an int",
            Self::Float => "a float",
            Self::Complex => "a complex",
            Self::Bytes => "a bytes",
            Self::Text => "a str",
            Self::Bytearray => "a bytearray",
            Self::List => "a list",
            Self::Dict => "a dict",
            Self::Set => "a set",
            Self::Frozenset => "a frozenset",
            Self::Range => "a range",
            Self::Slice => "a slice",
            Self::Tuple => "a tuple",
            Self::Global | Self::Made | Self::CodeType | Self::Unknown => return None,
        })
    }
}

/// A kind and its detail, packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Value(u32);

const DETAIL_BITS: u32 = 26;
const DETAIL_MASK: u32 = (1 << DETAIL_BITS) - 1;

impl Value {
    /// No object: of no kind that there is.
    pub(super) const NOTHING: Self = Self(u32::MAX);

    pub(super) const fn of(kind: Kind) -> Self {
        Self((kind as u32) << DETAIL_BITS)
    }

    /// A detail that does not fit is dropped: the answer then says less, and nothing wrong.
    pub(super) fn with(kind: Kind, detail: usize) -> Self {
        let stored = u32::try_from(detail + 1).ok().filter(|&stored| stored <= DETAIL_MASK);
        Self((kind as u32) << DETAIL_BITS | stored.unwrap_or(0))
    }

    pub(super) fn kind(self) -> Kind {
        KINDS.get((self.0 >> DETAIL_BITS) as usize).copied().unwrap_or(Kind::Unknown)
    }

    pub(super) fn detail(self) -> Option<usize> {
        (self.0 & DETAIL_MASK).checked_sub(1).map(|detail| detail as usize)
    }

    /// The detail of an object of `kind`.
    pub(super) fn detail_of(self, kind: Kind) -> Option<usize> {
        (self.kind() == kind).then(|| self.detail()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_details_come_back() {
        assert_eq!(size_of::<Value>(), 4);
        for (index, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!((Value::of(kind).kind(), Value::of(kind).detail()), (kind, None));
            assert_eq!(Value::with(kind, 0).detail(), Some(0));
            assert_eq!(Value::with(kind, 12_345).detail_of(kind), Some(12_345));
            assert_eq!(Value::with(kind, usize::MAX - 1).detail(), None);
            assert_eq!(Value::with(kind, 1 << DETAIL_BITS).kind(), kind);
        }
    }
}
