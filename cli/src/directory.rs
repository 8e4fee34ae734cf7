//! Directories that options name.

use std::path::Path;

use anyhow::{Result, bail};

/// Fails unless the value of an option is a directory.
pub(crate) fn require_dir(option: &str, dir: &Path) -> Result<()> {
    let shown = dir.display();
    match dir {
        dir if dir.is_dir() => Ok(()),
        dir if dir.exists() => bail!("{option} `{shown}`: not a directory"),
        _ => bail!("{option} `{shown}`: no such directory"),
    }
}
