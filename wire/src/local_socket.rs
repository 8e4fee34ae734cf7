//! Unix sockets that only this user can reach.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

/// Begins the names of the directories.
const PREFIX: &str = "belljar-zmq-";
const SOCKET: &str = "zmq";
/// A younger directory may belong to a process that is about to listen in it.
const MIN_ABANDONED_AGE: Duration = Duration::from_secs(60);

/// A listening unix socket in a directory of its own (mode 0700), which is removed with the `TempDir`.
pub(crate) fn listen() -> io::Result<(TempDir, PathBuf, UnixListener)> {
    listen_in(&std::env::temp_dir())
}

fn listen_in(parent: &Path) -> io::Result<(TempDir, PathBuf, UnixListener)> {
    remove_abandoned(parent);
    // Set at creation, so that the directory is never open to others.
    let mode = std::fs::Permissions::from_mode(0o700);
    let directory = tempfile::Builder::new().prefix(PREFIX).permissions(mode).tempdir_in(parent)?;
    let path = directory.path().join(SOCKET);
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    Ok((directory, path, listener))
}

/// Removes the directories of killed processes: nobody accepts at their sockets any more. A process id
/// would not tell, because it means something else in another container that shares the directory.
fn remove_abandoned(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_abandoned(&entry.path()) {
            // It fails for another user's directory, and if another process was quicker. Both are fine.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn is_abandoned(directory: &Path) -> bool {
    let age = directory.metadata().and_then(|meta| meta.modified()).map(|at| at.elapsed());
    let is_old = matches!(age, Ok(Ok(age)) if age > MIN_ABANDONED_AGE);
    is_old
        && UnixStream::connect(directory.join(SOCKET))
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn directories_of_killed_processes_are_removed_and_used_ones_kept() {
        let parent = tempfile::tempdir().expect("a directory");
        let (used, path, _listener) = listen_in(parent.path()).expect("listens");
        let (abandoned, _, listener) = listen_in(parent.path()).expect("listens");
        let (young, _, other) = listen_in(parent.path()).expect("listens");
        // As a kill leaves it: the socket's file without a listener.
        let (abandoned, young) = (abandoned.keep(), young.keep());
        drop((listener, other));
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        for directory in [used.path(), &abandoned] {
            let directory = File::open(directory).expect("exists");
            directory.set_modified(hour_ago).expect("set");
        }
        let _next = listen_in(parent.path()).expect("listens");
        assert!(!abandoned.exists());
        assert!(young.exists() && path.exists());
        UnixStream::connect(path).expect("still reachable");
    }
}
