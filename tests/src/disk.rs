//! A file system that is soon full.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

/// A file system of so many KiB, if this process may mount one.
///
/// # Errors
/// The work's own, or the system has no `mount`.
pub fn small_disk(kib: u32, work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let size = format!("size={kib}k");
    let mount = ["-t", "tmpfs", "-o", &size, "tmpfs"];
    let mounted = Command::new("mount").args(mount).arg(dir.path()).output()?;
    if !mounted.status.success() {
        return Ok(());
    }
    let done = work(dir.path());
    Command::new("umount").arg("--lazy").arg(dir.path()).status()?;
    done
}

/// Fills the file system of `filler` with that, to its last page.
///
/// # Errors
/// The file cannot be made.
pub fn fill(filler: &Path) -> Result<()> {
    let mut file = File::create(filler)?;
    for length in [1 << 20, 4 << 10] {
        while file.write_all(&vec![0; length]).is_ok() {}
    }
    Ok(())
}
