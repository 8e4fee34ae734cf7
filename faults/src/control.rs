//! Stops processes at fail points. `cli/src/faults.rs` is the other side and describes the protocol.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use belljar_testkit::eventually;

/// How long a process may take to connect.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

type Connected = Arc<Mutex<HashMap<u32, UnixStream>>>;

/// A process has stopped at a fail point.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reached {
    pid: u32,
    point: String,
}

/// The harness's end of the control connections.
#[derive(Debug)]
pub(crate) struct Control {
    socket: PathBuf,
    connected: Connected,
    reached: Receiver<Reached>,
}

impl Control {
    /// Listens at `socket`.
    pub(crate) fn listen(socket: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket)
            .with_context(|| format!("cannot listen at `{}`", socket.display()))?;
        let connected = Connected::default();
        let (sender, reached) = mpsc::channel();
        let connections = Arc::clone(&connected);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (connections, sender) = (Arc::clone(&connections), sender.clone());
                std::thread::spawn(move || read_lines(&stream, &connections, &sender));
            }
        });
        Ok(Self { socket: socket.to_owned(), connected, reached })
    }

    /// Where processes connect.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until a process has connected. `false` if it does not.
    pub(crate) fn is_connected(&self, pid: u32) -> bool {
        eventually(HELLO_TIMEOUT, || self.connected().contains_key(&pid))
    }

    /// Waits for the first of these processes to stop at `point`.
    pub(crate) fn stop_at(&self, point: &str, pids: &[u32], timeout: Duration) -> Result<u32> {
        while self.reached.try_recv().is_ok() {}
        self.send(pids, &format!("arm {point}"));
        let end = Instant::now() + timeout;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(reached) = self.reached.recv_timeout(left) else {
                self.send(pids, "go");
                bail!("none of {pids:?} reached `{point}` within {timeout:?}");
            };
            if reached.point == point && pids.contains(&reached.pid) {
                return Ok(reached.pid);
            }
        }
    }

    /// Lets these processes continue and disarms their fail points.
    pub(crate) fn release(&self, pids: &[u32]) {
        self.send(pids, "go");
    }

    fn send(&self, pids: &[u32], command: &str) {
        let connected = self.connected();
        for stream in pids.iter().filter_map(|pid| connected.get(pid)) {
            let mut stream: &UnixStream = stream;
            // One that was killed does not read it.
            let _ = stream.write_all(format!("{command}\n").as_bytes());
        }
    }

    fn connected(&self) -> MutexGuard<'_, HashMap<u32, UnixStream>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the lines of one process until it ends.
fn read_lines(stream: &UnixStream, connected: &Connected, reached: &Sender<Reached>) {
    let mut own = None;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if let Some(pid) = line.strip_prefix("hello ").and_then(|pid| pid.parse().ok()) {
            own = Some(pid);
            if let Ok(stream) = stream.try_clone() {
                connected.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, stream);
            }
        } else if let (Some(pid), Some(point)) = (own, line.strip_prefix("reached ")) {
            let _ = reached.send(Reached { pid, point: point.to_owned() });
        }
    }
    if let Some(pid) = own {
        connected.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
    }
}
