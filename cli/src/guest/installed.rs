//! The guests on disk.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use belljar_core::task::PythonVersion;
use serde::Deserialize;

/// A guest on disk.
pub(super) struct Guest {
    pub(super) python: PythonVersion,
    /// Its directory, with links resolved.
    pub(super) dir: PathBuf,
}

/// `guest.json`, which the build writes.
#[derive(Deserialize)]
pub(super) struct Description {
    pub(super) python: String,
    pub(super) dill: String,
}

/// The guests in `dir`, by Python. Other names belong to the build.
pub(super) fn installed(dir: &Path) -> Result<Vec<Guest>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot read the guest directory `{}`", dir.display());
    let mut guests = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let Some(Ok(python)) = entry.file_name().to_str().map(str::parse) else { continue };
        // A dangling link is shown as it is.
        let dir = std::fs::canonicalize(entry.path()).unwrap_or(entry.path());
        guests.push(Guest { python, dir });
    }
    guests.sort_unstable_by_key(|guest| guest.python);
    Ok(guests)
}

impl Guest {
    /// What the guest says of itself.
    pub(super) fn description(&self) -> Result<Description> {
        let path = self.dir.join("guest.json");
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// The size of its files on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        disk_bytes(&self.dir)
    }
}

/// The size of the files below `dir`; unreadable ones count nothing.
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
    fn a_guest_has_the_name_of_a_python() {
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
