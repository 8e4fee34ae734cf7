//! What `pythons.toml`, the table of the Pythons at the top of the repository, says to programs.

use crate::task::PythonVersion;

const TABLE: &str = include_str!("../../pythons.toml");

impl Default for PythonVersion {
    /// The Python that every installation has. It runs functions that name no Python.
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a test reads the same table")]
        default_of(TABLE).expect("pythons.toml names the default minor")
    }
}

fn default_of(table: &str) -> Option<PythonVersion> {
    let value = table.lines().find_map(|line| line.strip_prefix("default = "))?;
    value.trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_minor_is_a_native_one_and_what_cargo_builds_for() {
        let default = PythonVersion::default();
        assert!(TABLE.contains(&format!("[\"{default}\"]\nnative = true\n")));
        let cargo = include_str!("../../.cargo/config.toml");
        assert!(cargo.contains(&format!("\"/usr/bin/python{default}\"")));
    }
}
