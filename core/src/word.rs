//! Words that are none of those expected.

/// A word that is none of the words expected in its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {expected}")]
pub struct InvalidWord {
    /// What the word was meant to name.
    pub what: &'static str,
    /// The invalid text.
    pub text: String,
    /// The words that would have done.
    pub expected: &'static str,
}
