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
const GENERATED: &[&str] =
    &["Cargo.lock", ".json", ".svg", ".html", "docs/reports/", "requirements/"];

/// What the program writes of itself: as long as it has options, and nobody reads it from end to end.
const REFERENCE: &str = "docs/reference/cli.md";

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
    let written = files.iter().filter(|file| !file.is_generated() && file.path != REFERENCE);
    let long: Vec<_> = written
        .map(|file| (file.text.lines().count(), &file.path))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .collect();
    ensure!(long.is_empty(), "longer than {MOST_LINES} lines: {long:#?}");
    Ok(())
}

/// What a file of `requirements/` asks for, and the files that it names.
fn asked_for(path: &str, files: &[File]) -> Result<Vec<String>> {
    let file = files.iter().find(|file| file.path == path).context("no such file")?;
    let lines = file.text.lines().filter(|line| !line.starts_with('#'));
    let parts = lines.map(|line| match line.strip_prefix("-r ") {
        Some(other) => asked_for(&format!("requirements/{other}"), files),
        None => Ok(vec![line.to_owned()]),
    });
    Ok(parts.collect::<Result<Vec<_>>>()?.concat())
}

#[test]
fn python_packages_are_locked_by_their_hashes() -> Result<()> {
    let files = tracked()?;
    let lists = files.iter().filter_map(|file| file.path.strip_suffix(".in"));
    for list in lists.filter(|list| list.starts_with("requirements/")) {
        let path = format!("{list}.txt");
        let locked = files.iter().find(|file| file.path == path).context(path.clone())?;
        // What is for some Pythons only may not be for this list's.
        let wanted = asked_for(&format!("{list}.in"), &files)?;
        for wanted in wanted.iter().filter(|line| !line.contains(';')) {
            let line = locked.text.lines().find(|line| line.starts_with(&wanted.to_lowercase()));
            ensure!(
                line.is_some(),
                "{path} has no {wanted}: scripts/lock-requirements.sh writes it"
            );
        }
        let is_package = |line: &&str| line.starts_with(|first: char| first.is_alphanumeric());
        let mut lines = locked.text.lines().peekable();
        while let Some(line) = lines.next() {
            let has_hash = lines.peek().is_some_and(|next| next.contains("--hash=sha256:"));
            ensure!(!is_package(&line) || has_hash, "{path}: {line} has no hash");
        }
    }
    Ok(())
}
