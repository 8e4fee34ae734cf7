//! Fail points: where the fault harness (`faults/`) stops this process to kill it, or another, at that
//! very moment. Compiled only with the feature `failpoints`, and idle without `BELLJAR_FAULT_SOCKET`.
//!
//! One line each way, over one unix socket for each process:
//!
//! ```text
//! process: hello PID                 once
//! harness: arm POINT | go            `go` disarms and lets the process go on
//! process: reached POINT             and stands still until `go`; once for each `arm`
//! ```

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::exit::WithHint;

/// Whether the process may go on.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn wait(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Where it is poisoned the process goes on, and the harness sees that it does.
        drop(self.opened.wait_while(open, |open| !*open));
    }

    fn open(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }
}

/// How soon what the harness looks for is collected: files of values that no key refers to, after so many milliseconds.
pub(crate) fn collected_after() -> Option<std::time::Duration> {
    let text = std::env::var("BELLJAR_FAULT_COLLECTED_MS").ok()?;
    text.parse().ok().map(std::time::Duration::from_millis)
}

/// Connects to the harness and follows its commands from then on, in a thread of its own.
pub(crate) fn listen(socket: &Path) -> Result<()> {
    let shown = socket.display();
    let stream = UnixStream::connect(socket)
        .with_context(|| format!("no fault harness listens at `{shown}`"))
        .hint("unset BELLJAR_FAULT_SOCKET")?;
    let commands = BufReader::new(stream.try_clone().context("cannot read from the harness")?);
    let mut answers = stream.try_clone().context("cannot answer the harness")?;
    writeln!(answers, "hello {}", std::process::id()).context("cannot greet the harness")?;
    std::thread::spawn(move || {
        let mut armed: Option<(String, Arc<Gate>)> = None;
        for command in commands.lines().map_while(Result::ok) {
            if let Some((point, gate)) = armed.take() {
                fail::remove(point);
                gate.open();
            }
            if let Some(point) = command.strip_prefix("arm ") {
                armed = arm(point, &stream).map(|gate| (point.to_owned(), gate));
            }
        }
        // The harness is gone: nobody would ever say `go`.
        std::process::exit(crate::exit::FAILED.into());
    });
    Ok(())
}

fn arm(point: &str, harness: &UnixStream) -> Option<Arc<Gate>> {
    let gate = Arc::new(Gate::default());
    let (shut, reached) = (Arc::clone(&gate), AtomicBool::new(false));
    let (name, stream) = (point.to_owned(), harness.try_clone().ok()?);
    let stop = move || {
        if !reached.swap(true, Ordering::SeqCst) && writeln!(&stream, "reached {name}").is_ok() {
            shut.wait();
        }
    };
    fail::cfg_callback(point, stop).ok().map(|()| gate)
}
