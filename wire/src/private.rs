//! Unix sockets that only this user can reach.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use tempfile::TempDir;

/// A listening unix socket in a directory of its own (mode 0700), which goes with the `TempDir`.
pub(crate) fn listen() -> io::Result<(TempDir, PathBuf, UnixListener)> {
    use std::os::unix::fs::PermissionsExt;
    // Given at its making, so that there is no moment in which it is open.
    let mode = std::fs::Permissions::from_mode(0o700);
    let directory = tempfile::Builder::new().prefix("belljar-").permissions(mode).tempdir()?;
    let path = directory.path().join("zmq");
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    Ok((directory, path, listener))
}
