//! Where a native call finds its files.

use std::path::PathBuf;

use belljar_core::outcome::{Failure, FailureKind};
use tempfile::TempDir;

/// The working directory of a native call with files, in this machine's temporary directory.
pub(super) struct Folder(Option<TempDir>);

impl Folder {
    /// A new one.
    ///
    /// # Errors
    /// It cannot be made: why the call fails.
    pub(super) fn make() -> Result<Self, Failure> {
        let made = tempfile::Builder::new().prefix("belljar-call-").tempdir();
        made.map(|folder| Self(Some(folder))).map_err(|error| {
            let place = std::env::temp_dir();
            let text = format!("no folder for the call's files in {}: {error}", place.display());
            Failure::by_platform(FailureKind::Limit, text)
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.as_ref().map(|folder| folder.path().to_owned()).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let folder = self.0.take();
        // It may hold much.
        tokio::task::spawn_blocking(move || drop(folder));
    }
}
