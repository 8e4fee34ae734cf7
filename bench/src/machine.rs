//! The machine and the versions that a run was made with.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::process;

/// What figures depend on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory_mib: f64,
    pub(crate) system: String,
    pub(crate) kernel: String,
    /// By name: belljar, Python, dill, Redis.
    pub(crate) versions: BTreeMap<String, String>,
    /// How long a fixed piece of Python work takes here, in milliseconds: tells machines apart.
    pub(crate) yardstick_ms: f64,
}

impl Machine {
    /// This machine; what Python says of itself is added by the caller.
    pub(crate) fn here(belljar: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim_matches([' ', '\t', ':', '=', '"']).to_owned()
        };
        let mut versions = BTreeMap::new();
        for (name, program) in [("belljar", belljar), ("Redis", Path::new("redis-server"))] {
            versions.extend(version(program).map(|version| (name.to_owned(), version)));
        }
        Self {
            processor: field(&text("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: process::total_mib().unwrap_or_default(),
            system: field(&text("/etc/os-release"), "PRETTY_NAME"),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            versions,
            yardstick_ms: 0.0,
        }
    }
}

/// The first word with a digit in what `PROGRAM --version` says, without a prefix such as `v=`.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let numbered = |word: &&str| word.contains(|letter: char| letter.is_ascii_digit());
    let word = text.split_whitespace().find(numbered)?;
    Some(word.trim_start_matches("v=").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_processors_and_memory() {
        let machine = Machine::here(Path::new("/nowhere"));
        assert!(machine.processors > 0 && machine.memory_mib > 0.0, "{machine:?}");
        assert!(!machine.versions.contains_key("belljar"));
    }
}
