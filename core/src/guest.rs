//! What a guest of the sandbox lacks, as its workers report it.

use serde::{Deserialize, Serialize};

use crate::task::PythonVersion;

/// The modules of the standard library that the guest of one Python cannot import.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GuestModules {
    /// The guest's Python.
    pub python: PythonVersion,
    /// The names of top-level modules, sorted.
    pub missing: Vec<String>,
}

impl GuestModules {
    /// One entry for each Python: what all of its guests lack. A call may go to any of them, so a module
    /// that one of them has is not missing.
    #[must_use]
    pub fn common(all: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut common = Vec::<Self>::new();
        for guest in all {
            match common.iter_mut().find(|known| known.python == guest.python) {
                Some(known) => known.missing.retain(|name| guest.missing.contains(name)),
                None => common.push(guest),
            }
        }
        common.sort_unstable();
        common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_one_guest_has_is_not_missing() {
        let guest = |python: &str, missing: &[&str]| GuestModules {
            python: python.parse().expect("a version"),
            missing: missing.iter().map(|&name| name.to_owned()).collect(),
        };
        let all =
            [guest("3.13", &["ssl"]), guest("3.11", &["ctypes", "ssl"]), guest("3.11", &["ssl"])];
        assert_eq!(GuestModules::common(all), [guest("3.11", &["ssl"]), guest("3.13", &["ssl"])]);
    }
}
