//! The guests that an installation brings along, below its prefix: a directory for each Python, or an archive of
//! these that is unpacked once, into the user's cache. pip would compile and list each of their files.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use belljar_core::task::PythonVersion;
use rustix::fs::{Advice, FlockOperation, fadvise, flock, syncfs};

use crate::exit::WithHint;

/// The archive is named `guests-HASH.tar.gz`.
const ARCHIVE: [&str; 2] = ["guests-", ".tar.gz"];
/// Who may write where guests are: their owner, else they are refused.
const DIRECTORY_MODE: u32 = 0o755;

/// The directory of the guests that are installed at `packaged`; `None` where none are. `cache` is asked for where
/// there is an archive.
pub(crate) fn find(
    packaged: &Path,
    cache: impl FnOnce() -> Result<PathBuf>,
) -> Result<Option<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(packaged) else { return Ok(None) };
    let mut archive = None;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.parse::<PythonVersion>().is_ok() {
            return Ok(Some(packaged.to_path_buf()));
        }
        let [start, end] = ARCHIVE;
        let hash = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
        archive = hash.map(|hash| (entry.path(), format!("packaged-{hash}"))).or(archive);
    }
    let Some((archive, name)) = archive else { return Ok(None) };
    let cache = cache()?;
    let unpacked = cache.join(name);
    if !unpacked.is_dir() {
        let shown = unpacked.display();
        unpack(&archive, &cache, &unpacked)
            .with_context(|| format!("cannot unpack the guests of the sandbox to `{shown}`"))
            .hint("XDG_CACHE_HOME names another cache, with 400 MB of room")?;
    }
    Ok(Some(unpacked))
}

/// Unpacks to `target`, in `cache`; one process at a time, and all or nothing.
fn unpack(archive: &Path, cache: &Path, target: &Path) -> Result<()> {
    let mut directory = DirBuilder::new();
    directory.recursive(true).mode(DIRECTORY_MODE).create(cache)?;
    let lock = File::create(cache.join("packaged.lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if target.is_dir() {
        return Ok(());
    }
    let unfinished = tempfile::Builder::new().prefix(".packaged-").tempdir_in(cache)?;
    let guests = unfinished.path().join("guests");
    directory.create(&guests)?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive).arg("-C").arg(&guests).arg("--no-same-owner");
    let output = tar.output().context("cannot start `tar`")?;
    if !output.status.success() {
        bail!("tar: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    syncfs(&lock)?;
    forget(&guests)?;
    Ok(std::fs::rename(&guests, target)?)
}

/// Drops the memory images from the page cache. What was just written lies there in large pieces, which the kernel
/// maps whole where one page is touched; and what is mapped is looked through after every call.
fn forget(guests: &Path) -> Result<()> {
    for guest in std::fs::read_dir(guests)? {
        for file in std::fs::read_dir(guest?.path())? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "img") {
                fadvise(File::open(&path)?, 0, None, Advice::DontNeed)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("created");
        std::fs::write(path, text).expect("written");
    }

    /// `share/belljar/guests` with an archive of one guest.
    fn packed(dir: &Path) -> PathBuf {
        write(&dir.join("tree/3.11/guest.json"), "{}");
        write(&dir.join("tree/3.11/memory.img"), "zeros");
        let packaged = dir.join("guests");
        std::fs::create_dir(&packaged).expect("created");
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(packaged.join("guests-ab12.tar.gz")).arg("-C").arg(dir.join("tree"));
        assert!(tar.arg("3.11").status().expect("tar").success());
        packaged
    }

    #[test]
    fn an_archive_is_unpacked_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let (packaged, cache) = (packed(dir.path()), dir.path().join("home/cache"));
        let find = || find(&packaged, || Ok(cache.clone())).expect("unpacked");
        let found = find().expect("guests");
        assert_eq!(found, cache.join("packaged-ab12"));
        assert_eq!(std::fs::read_to_string(found.join("3.11/guest.json")).expect("there"), "{}");
        std::fs::remove_file(found.join("3.11/guest.json")).expect("its own");
        assert_eq!(find(), Some(found.clone()));
        assert!(!found.join("3.11/guest.json").exists(), "as it was");
        let left: Vec<_> = std::fs::read_dir(&cache).expect("listed").flatten().collect();
        assert_eq!(left.len(), 2, "the guests and the lock: {left:?}");
    }

    #[test]
    fn a_directory_is_used_as_it_is_and_none_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let none = || -> Result<PathBuf> { panic!("nothing to unpack") };
        assert_eq!(find(&dir.path().join("none"), none).expect("none"), None);
        assert_eq!(find(dir.path(), none).expect("none"), None);
        std::fs::create_dir(dir.path().join("3.13")).expect("created");
        assert_eq!(find(dir.path(), none).expect("one"), Some(dir.path().to_path_buf()));
    }

    #[test]
    fn a_broken_archive_leaves_nothing_and_says_the_way_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let packaged = packed(dir.path());
        write(&packaged.join("guests-ab12.tar.gz"), "no archive");
        let cache = dir.path().join("cache");
        let error = find(&packaged, || Ok(cache.clone())).expect_err("broken");
        assert!(format!("{error:#}").contains("XDG_CACHE_HOME"), "{error:#}");
        assert!(!cache.join("packaged-ab12").exists());
    }
}
