//! Keeps processors from falling asleep while calls come and go.
//!
//! A call passes from process to process eight times, and each waits for the one before. A processor with
//! nothing to do halts, and waking it takes longer than most of these steps: 25 us on a virtual machine,
//! elsewhere as long as its sleep was deep. The kernel takes requests against that (PM QoS, its
//! `Documentation/power/pm_qos_interface.rst`): the longest that waking may take is written to a device,
//! and holds until it is withdrawn or its writer dies.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Where the kernel takes requests; root may write it, and whom a rule of udev lets.
const DEVICE: &str = "/dev/cpu_dma_latency";
/// How the kernel lets processors idle.
const CPUIDLE: &str = "/sys/devices/system/cpu";
/// So long processors are kept awake after a request has come or tasks have ended. A quick call is over by
/// then, and its client may have sent the next.
const LINGER: Duration = Duration::from_millis(1);
/// Withdraws a request.
const WITHDRAWN: i32 = -1;

/// Why processors cannot be kept awake.
#[derive(Debug, thiserror::Error)]
pub enum AsleepError {
    /// There is no driver that heeds requests, as on many virtual machines.
    #[error("this kernel takes no requests on how processors idle")]
    Kernel,
    /// The device is for others.
    #[error("cannot write `{DEVICE}`")]
    Device(#[source] std::io::Error),
}

/// Whether this process could keep processors awake.
///
/// # Errors
/// It could not.
pub fn can_keep_awake() -> Result<(), AsleepError> {
    Wakefulness::open().map(|_| ())
}

/// A standing with the kernel to ask that processors stay awake.
pub(crate) struct Wakefulness {
    device: File,
    /// What is asked for, in microseconds.
    latency: i32,
    /// When something last happened; `None` while nothing is asked for.
    stirred: Mutex<Option<Instant>>,
    asked: Notify,
}

impl Wakefulness {
    /// Where the kernel and the user's rights allow it; else why not.
    pub(crate) fn open() -> Result<Self, AsleepError> {
        let latency = awake_latency(Path::new(CPUIDLE)).ok_or(AsleepError::Kernel)?;
        let device = OpenOptions::new().write(true).open(DEVICE).map_err(AsleepError::Device)?;
        Ok(Self::new(device, latency))
    }

    fn new(device: File, latency: i32) -> Self {
        Self { device, latency, stirred: Mutex::default(), asked: Notify::new() }
    }

    /// Keeps processors awake for a while from now on.
    pub(crate) fn stir(&self) {
        let mut stirred = self.lock();
        if stirred.replace(Instant::now()).is_none() {
            self.ask(self.latency);
            self.asked.notify_one();
        }
    }

    /// Lets them sleep again after each while, for ever.
    pub(crate) async fn lapse(&self) -> Infallible {
        loop {
            match self.lapses_at() {
                Some(end) => sleep_until(end).await,
                None => self.asked.notified().await,
            }
        }
    }

    /// When processors may sleep again; `None` where they already may.
    fn lapses_at(&self) -> Option<Instant> {
        let mut stirred = self.lock();
        let end = (*stirred)? + LINGER;
        if Instant::now() < end {
            return Some(end);
        }
        *stirred = None;
        self.ask(WITHDRAWN);
        None
    }

    fn ask(&self, latency: i32) {
        // A processor that sleeps for once costs time only.
        let _ = (&self.device).write_all(&latency.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.stirred.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to ask for, in microseconds; `None` where the kernel heeds no requests.
///
/// A virtual machine's only sleep is to leave the processor to its host, which is quick by the guest's own
/// account alone: there it shall poll. Elsewhere the first state is light enough, and saves most power.
fn awake_latency(cpuidle: &Path) -> Option<i32> {
    let read = |file: &str| std::fs::read_to_string(cpuidle.join(file)).ok();
    match read("cpuidle/current_driver")?.trim() {
        "none" => None,
        "haltpoll" => Some(0),
        _ => read("cpu0/cpuidle/state1/latency")?.trim().parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What was written to the device.
    fn asked(path: &Path) -> Vec<i32> {
        let written = fs::read(path).expect("the device");
        let (values, rest) = written.as_chunks();
        assert!(rest.is_empty());
        values.iter().map(|value| i32::from_ne_bytes(*value)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn processors_sleep_again_a_while_after_the_last_stir() {
        let path = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
        let device = OpenOptions::new().write(true).open(&path).expect("the device");
        let wakefulness = Wakefulness::new(device, 0);
        wakefulness.stir();
        tokio::time::advance(LINGER / 2).await;
        wakefulness.stir();
        tokio::time::advance(LINGER / 2).await;
        assert!(wakefulness.lapses_at().is_some());
        assert_eq!(asked(&path), [0], "asked for once, and not withdrawn yet");
        tokio::time::advance(LINGER / 2).await;
        assert_eq!(wakefulness.lapses_at(), None);
        assert_eq!(asked(&path), [0, WITHDRAWN]);
        wakefulness.stir();
        let lapsing = tokio::time::timeout(LINGER * 3, wakefulness.lapse());
        assert!(lapsing.await.is_err(), "it watches for ever");
        assert_eq!(asked(&path), [0, WITHDRAWN, 0, WITHDRAWN]);
    }

    #[test]
    fn what_is_asked_for_suits_the_processors() {
        let dir = tempfile::tempdir().expect("a directory");
        let of = |driver: &str| {
            fs::write(dir.path().join("cpuidle/current_driver"), driver).expect("written");
            awake_latency(dir.path())
        };
        assert_eq!(awake_latency(dir.path()), None, "a kernel without the interface");
        fs::create_dir(dir.path().join("cpuidle")).expect("made");
        fs::create_dir_all(dir.path().join("cpu0/cpuidle/state1")).expect("made");
        fs::write(dir.path().join("cpu0/cpuidle/state1/latency"), "2\n").expect("written");
        assert_eq!(of("none\n"), None);
        assert_eq!(of("haltpoll\n"), Some(0));
        assert_eq!(of("intel_idle\n"), Some(2));
    }
}
