//! What can go wrong with the sandbox itself. What a function did is never an error: that is an
//! [`Answer`](crate::Answer).
//!
//! ```text
//! Error
//! ├── Read, Describe     the guest's files are missing or unreadable: build the guest
//! ├── NoGuestDir, Untrusted   where the guest is, is unknown, or others may write there
//! ├── Engine             wasmtime refuses: another version, another CPU, a broken artefact
//! ├── Grant, InvalidGrant   a directory cannot be opened, or a name or path means nothing in a guest
//! └── Instance           no fresh interpreter can be made: this sandbox is useless now
//! ```

use std::io;
use std::path::PathBuf;

use belljar_core::grants::InvalidGrant;

/// The sandbox cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the guest cannot be read.
    #[error("the guest's file `{path}` cannot be read; `sandbox/guest/build.sh` builds the guest", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nothing says where the guests are.
    #[error(
        "the directory of the guests is unknown, as HOME is not set; BELLJAR_GUEST_DIR names it"
    )]
    NoGuestDir,
    /// The guest is code that runs unchecked, and others than this user and root can change it.
    #[error(
        "the guest's `{path}` belongs to user {owner} and has the mode {mode:o}: others could put other code \
         in its place; `chown` it to this user and `chmod go-w` it",
        path = path.display()
    )]
    Untrusted {
        /// The directory or file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
    /// The guest's description is not what this version writes.
    #[error("the guest's description is malformed; `sandbox/guest/build.sh` builds the guest")]
    Describe(#[source] serde_json::Error),
    /// wasmtime refuses the guest.
    #[error(
        "the guest does not fit this machine or version; `sandbox/guest/build.sh` builds the guest"
    )]
    Engine(#[source] wasmtime::Error),
    /// A directory cannot be granted.
    #[error("the directory `{path}` cannot be granted", path = path.display())]
    Grant {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A grant that no guest can be given.
    #[error(transparent)]
    InvalidGrant(#[from] InvalidGrant),
    /// A fresh instance cannot be made.
    #[error("no fresh interpreter can be started")]
    Instance(#[source] wasmtime::Error),
}

impl Error {
    /// For `map_err`: reading `path` failed.
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.into(), source }
    }
}
