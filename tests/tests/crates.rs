//! What docs/explanation/architecture.md says of the crates is so.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const ARCHITECTURE: &str = include_str!("../../docs/explanation/architecture.md");

/// What the table of crates says: the directory of each, and what only the rows that name it depend on.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let crates = ARCHITECTURE.split_once("\n## Crates\n").map_or("", |(_, after)| after);
    let rows = crates.lines().skip_while(|line| !line.starts_with("| `"));
    rows.take_while(|line| line.starts_with('|'))
        .map(|row| {
            let cells: Vec<_> = row.trim_matches('|').split('|').collect();
            let names =
                |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            let directory = cells[0].trim().trim_matches('`').trim_end_matches('/');
            (directory.to_owned(), cells.get(2).map_or_else(BTreeSet::new, |cell| names(cell)))
        })
        .collect()
}

/// The directory of each crate of the workspace, and what it depends on outside of tests.
fn workspace() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--offline"];
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let ended = Command::new(env!("CARGO")).args(arguments).current_dir(root).output()?;
    let metadata: Value = serde_json::from_slice(&ended.stdout)?;
    let read = |package: &Value| {
        let manifest = package["manifest_path"].as_str()?.strip_suffix("/Cargo.toml")?;
        let dependencies = package["dependencies"].as_array()?.iter();
        let shipped = dependencies.filter(|dependency| dependency["kind"] != "dev");
        let names = shipped.filter_map(|dependency| Some(dependency["name"].as_str()?.to_owned()));
        Some((manifest.rsplit('/').next()?.to_owned(), names.collect()))
    };
    let packages = metadata["packages"].as_array().context("no packages")?;
    packages.iter().map(|package| read(package).context("no package")).collect()
}

#[test]
fn only_the_crates_that_the_table_names_hold_a_dependency() -> Result<()> {
    let (table, workspace) = (table(), workspace()?);
    let told: usize = table.values().map(BTreeSet::len).sum();
    ensure!(told >= 7, "the table names {told} such dependencies: {table:?}");
    let holders = |of: &BTreeMap<String, BTreeSet<String>>, dependency: &String| {
        let holders = of.iter().filter(|(_, needs)| needs.contains(dependency));
        holders.map(|(directory, _)| directory.clone()).collect::<Vec<_>>()
    };
    for dependency in table.values().flatten() {
        let (named, found) = (holders(&table, dependency), holders(&workspace, dependency));
        ensure!(found == named, "`{dependency}` is held by {found:?}, not {named:?}");
    }
    Ok(())
}

#[test]
fn the_table_names_every_crate() -> Result<()> {
    let table = table();
    for directory in workspace()?.keys() {
        ensure!(table.contains_key(directory), "docs/explanation/architecture.md does not name `{directory}/`");
    }
    Ok(())
}
