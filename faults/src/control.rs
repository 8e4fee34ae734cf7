//! Stops processes at fail points: the other side of `cli/src/faults.rs`, which describes the lines.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use belljar_testkit::eventually;

/// How long a process may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

type Connected = Arc<Mutex<HashMap<u32, UnixStream>>>;

/// A process stands still at a point.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reached {
    pid: u32,
    point: String,
}

/// The harness's end of all control sockets.
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
        let known = Arc::clone(&connected);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (known, sender) = (Arc::clone(&known), sender.clone());
                std::thread::spawn(move || hear(&stream, &known, &sender));
            }
        });
        Ok(Self { socket: socket.to_owned(), connected, reached })
    }

    /// Where processes are to connect.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until a process can be stopped; `false` where it does not come.
    pub(crate) fn knows(&self, pid: u32) -> bool {
        eventually(HELLO_TIMEOUT, || self.connected().contains_key(&pid))
    }

    /// The first of these processes to come to `point`, which now stands still there.
    pub(crate) fn stop_at(&self, point: &str, pids: &[u32], patience: Duration) -> Result<u32> {
        while self.reached.try_recv().is_ok() {}
        self.say(pids, &format!("arm {point}"));
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(reached) = self.reached.recv_timeout(left) else {
                self.say(pids, "go");
                bail!("none of {pids:?} came to `{point}` within {patience:?}");
            };
            if reached.point == point && pids.contains(&reached.pid) {
                return Ok(reached.pid);
            }
        }
    }

    /// Lets these processes go on, and disarms them.
    pub(crate) fn release(&self, pids: &[u32]) {
        self.say(pids, "go");
    }

    fn say(&self, pids: &[u32], command: &str) {
        let connected = self.connected();
        for stream in pids.iter().filter_map(|pid| connected.get(pid)) {
            let mut stream: &UnixStream = stream;
            // One that was killed hears nothing.
            let _ = stream.write_all(format!("{command}\n").as_bytes());
        }
    }

    fn connected(&self) -> MutexGuard<'_, HashMap<u32, UnixStream>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what one process says, until it ends.
fn hear(stream: &UnixStream, connected: &Connected, reached: &Sender<Reached>) {
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
