//! What a guest of the sandbox has and lacks, as its workers report it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::task::PythonVersion;

/// The modules of the standard library that the guest of one Python cannot import, and the packages that it has besides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GuestModules {
    /// The guest's Python.
    pub python: PythonVersion,
    /// The names of top-level modules, sorted.
    pub missing: Vec<String>,
    /// Names and versions of packages that are part of the guest. Last: an earlier version sends none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub added: BTreeMap<String, String>,
}

impl GuestModules {
    /// One entry for each Python: what all of its guests lack, and what all of them have. A call may go to any of them, so a module
    /// that one of them has is not missing.
    #[must_use]
    pub fn common(all: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut common = Vec::<Self>::new();
        for guest in all {
            match common.iter_mut().find(|known| known.python == guest.python) {
                Some(known) => {
                    known.missing.retain(|name| guest.missing.contains(name));
                    known.added.retain(|name, version| guest.added.get(name) == Some(version));
                }
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

    fn guest(python: &str, missing: &[&str], added: &[(&str, &str)]) -> GuestModules {
        GuestModules {
            python: python.parse().expect("a version"),
            missing: missing.iter().map(|&name| name.to_owned()).collect(),
            added: added.iter().map(|&(name, version)| (name.into(), version.into())).collect(),
        }
    }

    #[test]
    fn a_module_that_one_guest_has_is_not_missing() {
        let all = [
            guest("3.13", &["ssl"], &[]),
            guest("3.11", &["ctypes", "ssl"], &[]),
            guest("3.11", &["ssl"], &[]),
        ];
        let common = [guest("3.11", &["ssl"], &[]), guest("3.13", &["ssl"], &[])];
        assert_eq!(GuestModules::common(all), common);
    }

    #[test]
    fn a_package_counts_that_all_guests_have_in_the_same_version() {
        let all = [
            guest("3.11", &[], &[("a", "1"), ("b", "1"), ("c", "1")]),
            guest("3.11", &[], &[("a", "1"), ("b", "2")]),
        ];
        assert_eq!(GuestModules::common(all), [guest("3.11", &[], &[("a", "1")])]);
    }
}
