//! Whose a directory of blobs is: files of one deployment are what no key of another refers to.

use std::fs;
use std::io;

use belljar_core::id::TaskId;
use belljar_core::result_file::OWNER;

use crate::blob_files::{BlobFiles, UNFINISHED, rename_new};

impl BlobFiles {
    /// Whose the directory is.
    pub(crate) fn owner(&self) -> io::Result<String> {
        fs::read_to_string(self.directory().join(OWNER))
    }

    /// Takes the directory for the deployment of this name.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`]: it is another's.
    pub(crate) fn own(&self, deployment: &str) -> io::Result<()> {
        let path = self.directory().join(OWNER);
        // On a full disk what is there can be read still.
        if !path.try_exists()? {
            let unfinished = self.directory().join(format!("{UNFINISHED}{}", TaskId::random()));
            let taken =
                fs::write(&unfinished, deployment).and_then(|()| rename_new(&unfinished, &path));
            // Another process may have been first.
            if let Err(error) = taken {
                let _ = fs::remove_file(&unfinished);
                if error.kind() != io::ErrorKind::AlreadyExists {
                    return Err(error);
                }
            }
        }
        if fs::read_to_string(&path)? == deployment {
            return Ok(());
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}
