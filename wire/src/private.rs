//! Unix sockets that only this user can reach.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

/// How the directories are called, before what tells them apart.
const PREFIX: &str = "belljar-zmq-";
const SOCKET: &str = "zmq";
/// A socket so young may belong to a process that is just about to listen on it.
const YOUNG: Duration = Duration::from_secs(60);

/// A listening unix socket in a directory of its own (mode 0700), which goes with the `TempDir`.
pub(crate) fn listen() -> io::Result<(TempDir, PathBuf, UnixListener)> {
    listen_in(&std::env::temp_dir())
}

fn listen_in(parent: &Path) -> io::Result<(TempDir, PathBuf, UnixListener)> {
    clear_away(parent);
    // Given at its making, so that there is no moment in which it is open.
    let mode = std::fs::Permissions::from_mode(0o700);
    let directory = tempfile::Builder::new().prefix(PREFIX).permissions(mode).tempdir_in(parent)?;
    let path = directory.path().join(SOCKET);
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    Ok((directory, path, listener))
}

/// Removes what killed processes left behind: nobody answers at their sockets any more. By asking, and
/// not by a process id, which means something else in another container that shares the directory.
fn clear_away(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_abandoned(&entry.path()) {
            // Another user's, or another process was quicker: neither is ours to mend.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn is_abandoned(directory: &Path) -> bool {
    let age = directory.metadata().and_then(|meta| meta.modified()).map(|at| at.elapsed());
    let is_old = matches!(age, Ok(Ok(age)) if age > YOUNG);
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
    fn what_killed_processes_left_goes_and_what_is_used_stays() {
        let parent = tempfile::tempdir().expect("a directory");
        let (used, path, _listener) = listen_in(parent.path()).expect("listens");
        let (left, _, listener) = listen_in(parent.path()).expect("listens");
        let (young, _, other) = listen_in(parent.path()).expect("listens");
        // As a kill leaves it: the socket's file without anybody behind it.
        let (left, young) = (left.keep(), young.keep());
        drop((listener, other));
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        for directory in [used.path(), &left] {
            let directory = File::open(directory).expect("there");
            directory.set_modified(hour_ago).expect("set");
        }
        let _next = listen_in(parent.path()).expect("listens");
        assert!(!left.exists());
        assert!(young.exists() && path.exists());
        UnixStream::connect(path).expect("it is still reached");
    }
}
