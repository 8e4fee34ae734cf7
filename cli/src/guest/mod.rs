//! `belljar guest`: the sandbox's Pythons, one folder each below the guest directory.

mod build;
mod check;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use belljar_core::task::PythonVersion;
use serde::Deserialize;

use crate::args::{GuestAction, GuestArgs};
use crate::install;
use crate::serve::announce;

/// A guest as it lies on disk.
struct Guest {
    python: PythonVersion,
    /// Its folder, with links resolved.
    dir: PathBuf,
}

/// What the build wrote of itself into `guest.json`.
#[derive(Deserialize)]
struct Description {
    python: String,
    dill: String,
}

pub(crate) fn run(args: &GuestArgs) -> Result<()> {
    let dir = install::guest_dir(args.guest_dir.as_deref())?;
    match &args.action {
        GuestAction::List => list(&dir),
        GuestAction::Check { python } => check::run(&dir, *python),
        GuestAction::Build { python } => build::run(&dir, *python),
    }
}

fn list(dir: &Path) -> Result<()> {
    let guests = installed(dir)?;
    if guests.is_empty() {
        announce(&format!("no guest below {}: `belljar guest build` makes one", dir.display()));
    }
    for guest in guests {
        let about = guest.description().map_or_else(
            |error| format!("unusable: {error:#}"),
            |about| format!("Python {}  dill {}", about.python, about.dill),
        );
        let size = disk_bytes(&guest.dir) >> 20;
        announce(&format!("{}  {about}  {size} MiB  {}", guest.python, guest.dir.display()));
    }
    Ok(())
}

/// The guests below `dir`, by Python. What is not named after a Python belongs to the build.
fn installed(dir: &Path) -> Result<Vec<Guest>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let cannot = || format!("the guest directory `{}` cannot be read", dir.display());
    let mut guests = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let Some(Ok(python)) = entry.file_name().to_str().map(str::parse) else { continue };
        // A link that leads nowhere is shown as it is.
        let dir = std::fs::canonicalize(entry.path()).unwrap_or(entry.path());
        guests.push(Guest { python, dir });
    }
    guests.sort_unstable_by_key(|guest| guest.python);
    Ok(guests)
}

impl Guest {
    fn description(&self) -> Result<Description> {
        let path = self.dir.join("guest.json");
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }
}

/// What the files below `dir` take on disk; what cannot be read counts nothing.
fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_what_is_named_after_a_python() {
        let dir = std::env::temp_dir().join(format!("belljar-guests-{}", std::process::id()));
        for name in ["3.13", "3.9", "3.11-0123456789abcdef", "work"] {
            std::fs::create_dir_all(dir.join(name)).expect("a folder");
        }
        let about = r#"{"python": "3.13.1", "dill": "0.4.1", "memory_bytes": 1}"#;
        std::fs::write(dir.join("3.13/guest.json"), about).expect("a file");
        let guests = installed(&dir).expect("readable");
        let described: Vec<_> = guests
            .iter()
            .map(|guest| {
                (guest.python.to_string(), guest.description().map(|about| about.python).ok())
            })
            .collect();
        std::fs::remove_dir_all(&dir).expect("its own");
        assert_eq!(
            described,
            [("3.9".to_owned(), None), ("3.13".to_owned(), Some("3.13.1".to_owned()))]
        );
        assert!(installed(&dir).expect("nothing there").is_empty());
    }
}
