//! Which Python wrote the bytecode in a pickle.

use std::fmt;

use belljar_core::task::PythonVersion;

/// The Python 3 minors whose bytecode a pickle may hold. Never wrong for what dill and cloudpickle
/// write: where the pickle does not show it, every minor is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PythonHint {
    /// Bit n stands for 3.n; the last bit also for all later ones.
    minors: u32,
}

impl PythonHint {
    /// No bytecode is visible, or none that depends on the version.
    pub const UNKNOWN: Self = Self { minors: u32::MAX };

    pub(super) fn only(minor: u8) -> Self {
        Self { minors: 1_u32.checked_shl(minor.into()).unwrap_or(0) }
    }

    pub(super) fn since(minor: u8) -> Self {
        Self { minors: u32::MAX.checked_shl(minor.into()).unwrap_or(0) }
    }

    pub(super) const fn before(minor: u8) -> Self {
        Self { minors: (1 << minor) - 1 }
    }

    pub(super) const fn none() -> Self {
        Self { minors: 0 }
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self { minors: self.minors | other.minors }
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self { minors: self.minors & other.minors }
    }

    /// A hint that allows nothing was not written by one Python: then nothing is known.
    pub(super) const fn or_unknown(self) -> Self {
        if self.minors == 0 { Self::UNKNOWN } else { self }
    }

    /// Whether nothing is known.
    #[must_use]
    pub const fn is_unknown(self) -> bool {
        self.minors == u32::MAX
    }

    /// Whether it may also be of Pythons that do not exist yet.
    #[must_use]
    pub const fn is_open_ended(self) -> bool {
        self.minors >> (u32::BITS - 1) != 0
    }

    /// Whether `python` can run the bytecode, as far as the pickle shows.
    #[must_use]
    pub fn allows(self, python: PythonVersion) -> bool {
        let bit = 1 << u32::from(python.minor).min(u32::BITS - 1);
        self.is_unknown() || (python.major == 3 && self.minors & bit != 0)
    }

    /// The one Python that it must be, if there is only one.
    #[must_use]
    pub fn certain(self) -> Option<PythonVersion> {
        let minor = u8::try_from(self.minors.trailing_zeros()).ok()?;
        (self.minors.count_ones() == 1).then_some(PythonVersion { major: 3, minor })
    }
}

/// Reads after "the function's bytecode is of ...": `Python 3.11 or 3.12`.
impl fmt::Display for PythonHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unknown() {
            return f.write_str("any Python");
        }
        f.write_str("Python")?;
        let minors: Vec<u32> = (0..u32::BITS).filter(|bit| self.minors >> bit & 1 != 0).collect();
        if let (Some(first), true) = (minors.first(), self.is_open_ended()) {
            return write!(f, " 3.{first} or later");
        }
        for (index, minor) in minors.iter().enumerate() {
            write!(f, "{} 3.{minor}", if index == 0 { "" } else { " or" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(minor: u8) -> PythonVersion {
        PythonVersion { major: 3, minor }
    }

    #[test]
    fn a_hint_allows_what_it_names() {
        let both = PythonHint::only(11).or(PythonHint::only(12));
        assert!(both.allows(python(11)) && both.allows(python(12)) && !both.allows(python(13)));
        assert_eq!((both.certain(), both.to_string().as_str()), (None, "Python 3.11 or 3.12"));
        assert_eq!(both.and(PythonHint::only(12)).certain(), Some(python(12)));
        assert_eq!(PythonHint::since(14).to_string(), "Python 3.14 or later");
        assert!(PythonHint::since(14).allows(python(40)));
        assert!(!PythonHint::since(14).allows(PythonVersion { major: 2, minor: 14 }));
    }

    #[test]
    fn nothing_known_allows_everything() {
        assert!(PythonHint::UNKNOWN.allows(PythonVersion { major: 2, minor: 7 }));
        assert_eq!(PythonHint::UNKNOWN.certain(), None);
        let contradiction = PythonHint::only(11).and(PythonHint::only(12)).or_unknown();
        assert!(contradiction.is_unknown());
        assert_eq!(contradiction.to_string(), "any Python");
    }
}
