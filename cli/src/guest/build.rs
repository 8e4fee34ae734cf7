//! `belljar guest build`: runs the build of the checkout that this program was built in.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use belljar_core::task::PythonVersion;

use crate::exit::WithHint;
use crate::install::{self, GUEST_BUILD};

/// The table of Pythons; one with a guest names its version.
const TABLE: &str = include_str!("../../../pythons.toml");

/// Builds the guest of `python` below `dir`, unless it exists.
pub(super) fn run(dir: &Path, python: PythonVersion) -> Result<()> {
    let checkout = install::checkout()
        .context("a guest is built from a checkout, and this program is not in one")
        .hint("run `make guest` in a checkout, and name its result with --guest-dir DIR")?;
    let script = checkout.join(GUEST_BUILD);
    let known = guests(TABLE);
    if !known.contains(&python) {
        let known: Vec<_> = known.iter().map(ToString::to_string).collect();
        return Err(anyhow!("there is no guest of Python {python}"))
            .hint(format!("guests can be built of Python {}", known.join(" and ")));
    }
    let mut command = Command::new(&script);
    command.arg(python.to_string()).env("BELLJAR_GUEST_DIR", dir);
    let status = command.status().with_context(|| format!("cannot run `{}`", script.display()))?;
    if !status.success() {
        bail!("`{}` failed: {status}", script.display());
    }
    Ok(())
}

/// The Pythons that a guest can be built for: in the table `["3.11"]`, a line `guest = ...`.
fn guests(table: &str) -> Vec<PythonVersion> {
    let section = |text: &str| {
        let (name, values) = text.split_once("\"]")?;
        values.contains("\nguest = ").then(|| name.parse().ok()).flatten()
    };
    table.split("\n[\"").filter_map(section).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_can_be_built_of_the_pythons_that_the_table_says() {
        let table =
            "default = \"3.11\"\n\n[\"3.9\"]\nnative = true\n\n[\"3.11\"]\nguest = \"3.11.2\"\n";
        assert_eq!(guests(table).iter().map(ToString::to_string).collect::<Vec<_>>(), ["3.11"]);
        assert!(guests(TABLE).contains(&PythonVersion::default()));
    }
}
