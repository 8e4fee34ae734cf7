//! What holds of the whole tree: its words, the size of its files, the imports inside its crates, its docs.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use belljar_testkit::root;

mod circles;
mod docs;
mod links;
mod words;

/// The longest that a file may be.
const MOST_LINES: usize = 500;

/// Files that nobody writes by hand: what they begin with or end with.
const GENERATED: &[&str] = &["Cargo.lock", ".json", ".svg", ".html", "docs/reports/"];

/// Where words of our own are still being replaced, and imports taken apart. To be emptied.
const PENDING: &[&str] = &[];

/// A text file that is tracked by git.
struct File {
    /// Its path from the root.
    path: String,
    text: String,
}

impl File {
    fn is_pending(&self) -> bool {
        PENDING.iter().any(|part| self.path.starts_with(part))
    }

    fn is_generated(&self) -> bool {
        GENERATED.iter().any(|part| self.path.starts_with(part) || self.path.ends_with(part))
    }
}

/// All text files that are tracked by git.
fn tracked() -> Result<Vec<File>> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output()?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).context("a path is not UTF-8")?;
    let paths = paths.split_terminator('\0').map(str::to_owned);
    // What is not UTF-8 is no text; what is not there was removed and not committed yet.
    let files = paths.filter_map(|path| {
        let text = std::fs::read_to_string(root().join(&path)).ok()?;
        Some(File { path, text })
    });
    Ok(files.collect())
}

#[test]
fn no_file_is_longer_than_one_can_read() -> Result<()> {
    let files = tracked()?;
    let written = files.iter().filter(|file| !file.is_generated());
    let long: Vec<_> = written
        .map(|file| (file.text.lines().count(), &file.path))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .collect();
    ensure!(long.is_empty(), "longer than {MOST_LINES} lines: {long:#?}");
    Ok(())
}
