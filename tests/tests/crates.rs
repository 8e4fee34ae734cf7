//! Which crate may use what, and what docs/explanation/architecture.md says about the crates.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use belljar_testkit::root;
use serde_json::Value;

const ARCHITECTURE: &str = include_str!("../../docs/explanation/architecture.md");

/// The crates of the workspace that each of them may use outside of its tests. In tests, every crate may use
/// `testkit`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("pickle", &["core"]),
    ("metrics", &[]),
    ("traces", &["core"]),
    ("stream", &[]),
    ("store", &["core", "pickle", "stream"]),
    ("wire", &[]),
    ("gateway", &["core", "pickle", "metrics", "traces", "store"]),
    ("worker", &["core", "metrics", "traces", "stream", "wire"]),
    ("dispatcher", &["core", "metrics", "traces", "store", "wire", "worker"]),
    ("interpreter", &["core"]),
    ("sandbox", &["core", "pickle"]),
    (
        "cli",
        &[
            "core",
            "pickle",
            "metrics",
            "traces",
            "store",
            "wire",
            "gateway",
            "worker",
            "dispatcher",
        ],
    ),
    ("bench", &[]),
    ("testkit", &[]),
    ("tests", &["testkit"]),
    ("faults", &["testkit", "tests"]),
];

/// What draws and writes reports; a service needs none of it.
const PLOTTING: &[&str] = &["plotters", "ab_glyph", "image", "png", "pulldown-cmark", "indicatif"];

/// The table of crates: the directory of each, and the dependencies that no crate without such an entry has.
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

/// A crate of the workspace: its name, and what it depends on outside of its tests.
struct Member {
    name: String,
    dependencies: BTreeSet<String>,
}

/// The crates of the workspace by their directories.
fn workspace() -> Result<BTreeMap<String, Member>> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--offline"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let read = |package: &Value| {
        let manifest = package["manifest_path"].as_str()?.strip_suffix("/Cargo.toml")?;
        let dependencies = package["dependencies"].as_array()?.iter();
        let shipped = dependencies.filter(|dependency| dependency["kind"] != "dev");
        let names = shipped.filter_map(|dependency| Some(dependency["name"].as_str()?.to_owned()));
        let member =
            Member { name: package["name"].as_str()?.to_owned(), dependencies: names.collect() };
        Some((manifest.rsplit('/').next()?.to_owned(), member))
    };
    let packages = metadata["packages"].as_array().context("no packages")?;
    packages.iter().map(|package| read(package).context("no package")).collect()
}

#[test]
fn crates_use_only_those_that_they_may() -> Result<()> {
    let workspace = workspace()?;
    let directories: BTreeMap<_, _> =
        workspace.iter().map(|(directory, member)| (&*member.name, &**directory)).collect();
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    for (directory, member) in &workspace {
        let allowed = allowed.get(&**directory);
        let allowed = allowed.with_context(|| format!("what may `{directory}/` use?"))?;
        let used = member.dependencies.iter().filter_map(|name| directories.get(&**name));
        let wrong: Vec<_> = used.filter(|used| !allowed.contains(used)).collect();
        ensure!(wrong.is_empty(), "`{directory}/` uses {wrong:?}");
    }
    Ok(())
}

#[test]
fn only_the_crates_that_the_table_names_hold_a_dependency() -> Result<()> {
    let (table, workspace) = (table(), workspace()?);
    let told: usize = table.values().map(BTreeSet::len).sum();
    ensure!(told >= 5, "the table names {told} such dependencies: {table:?}");
    for dependency in table.values().flatten() {
        let named = table.iter().filter(|(_, holds)| holds.contains(dependency));
        let named: Vec<_> = named.map(|(directory, _)| directory).collect();
        let found = workspace.iter().filter(|(_, it)| it.dependencies.contains(dependency));
        let found: Vec<_> = found.map(|(directory, _)| directory).collect();
        ensure!(found == named, "`{dependency}` is held by {found:?}, not {named:?}");
    }
    Ok(())
}

#[test]
fn the_table_names_every_crate() -> Result<()> {
    let table = table();
    for directory in workspace()?.keys() {
        ensure!(
            table.contains_key(directory),
            "docs/explanation/architecture.md: no `{directory}/`"
        );
    }
    Ok(())
}

#[test]
fn the_service_links_no_plotting() -> Result<()> {
    let arguments = ["tree", "-p", "belljar", "-e", "normal", "--prefix", "none", "--offline"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output()?;
    let tree = String::from_utf8(output.stdout)?;
    let linked: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    ensure!(linked.contains("tokio"), "{}", String::from_utf8_lossy(&output.stderr));
    let plotting: Vec<_> = PLOTTING.iter().filter(|name| linked.contains(*name)).collect();
    ensure!(plotting.is_empty(), "`belljar` links {plotting:?}");
    Ok(())
}
