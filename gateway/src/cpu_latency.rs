//! Limits the wake-up latency of processors while calls come and go.
//!
//! A call passes from process to process eight times, and each waits for the one before. An idle processor
//! halts, and waking it takes longer than most of these steps: 25 us on a virtual machine, elsewhere longer
//! the deeper it sleeps. The kernel takes a limit on that (PM QoS, its
//! `Documentation/power/pm_qos_interface.rst`): the longest wake-up latency is written to a device, and
//! holds until it is withdrawn or its writer ends.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Where the kernel takes limits; writable for root, and for others by a rule of udev.
const DEVICE: &str = "/dev/cpu_dma_latency";
/// Says how the kernel idles processors.
const CPUIDLE: &str = "/sys/devices/system/cpu";
/// How long the limit holds after the last request or end of a task. A quick call is over by then, and its
/// client may have sent the next.
const LINGER: Duration = Duration::from_millis(1);
/// Withdraws a limit.
const WITHDRAWN: i32 = -1;

/// Why the latency cannot be limited.
#[derive(Debug, thiserror::Error)]
pub enum CpuLatencyError {
    /// The kernel has no driver that applies limits, as on many virtual machines.
    #[error("this kernel takes no limit on the latency of processors")]
    Kernel,
    /// The device is not writable.
    #[error("cannot write `{DEVICE}`")]
    Device(#[source] std::io::Error),
}

/// Whether this process can limit the wake-up latency of processors.
///
/// # Errors
/// It cannot.
pub fn can_limit_cpu_latency() -> Result<(), CpuLatencyError> {
    CpuLatency::open().map(|_| ())
}

/// The open device.
pub(crate) struct CpuLatency {
    device: File,
    /// The limit in microseconds.
    limit: i32,
    /// When it was last touched; `None` while no limit is set.
    touched: Mutex<Option<Instant>>,
    set: Notify,
}

impl CpuLatency {
    /// Opens the device.
    pub(crate) fn open() -> Result<Self, CpuLatencyError> {
        let limit = best_limit(Path::new(CPUIDLE)).ok_or(CpuLatencyError::Kernel)?;
        let device =
            OpenOptions::new().write(true).open(DEVICE).map_err(CpuLatencyError::Device)?;
        Ok(Self::new(device, limit))
    }

    fn new(device: File, limit: i32) -> Self {
        Self { device, limit, touched: Mutex::default(), set: Notify::new() }
    }

    /// Sets the limit for a while from now on.
    pub(crate) fn touch(&self) {
        let mut touched = self.lock();
        if touched.replace(Instant::now()).is_none() {
            self.write(self.limit);
            self.set.notify_one();
        }
    }

    /// Withdraws the limit whenever its time is over. Never returns.
    pub(crate) async fn expire(&self) -> Infallible {
        loop {
            match self.expires_at() {
                Some(end) => sleep_until(end).await,
                None => self.set.notified().await,
            }
        }
    }

    /// When the limit expires; `None` where none is set.
    fn expires_at(&self) -> Option<Instant> {
        let mut touched = self.lock();
        let end = (*touched)? + LINGER;
        if Instant::now() < end {
            return Some(end);
        }
        *touched = None;
        self.write(WITHDRAWN);
        None
    }

    fn write(&self, limit: i32) {
        // Without the limit a call is slower, nothing else.
        let _ = (&self.device).write_all(&limit.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The limit to set, in microseconds; `None` where the kernel applies none.
///
/// A virtual machine idles by leaving the processor to its host, which takes longer than the guest believes:
/// there it polls. Elsewhere the first idle state is light enough, and saves most power.
fn best_limit(cpuidle: &Path) -> Option<i32> {
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
    fn written(path: &Path) -> Vec<i32> {
        let bytes = fs::read(path).expect("the device");
        let (values, rest) = bytes.as_chunks();
        assert!(rest.is_empty());
        values.iter().map(|value| i32::from_ne_bytes(*value)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_expires_a_while_after_the_last_touch() {
        let path = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
        let device = OpenOptions::new().write(true).open(&path).expect("the device");
        let latency = CpuLatency::new(device, 0);
        latency.touch();
        tokio::time::advance(LINGER / 2).await;
        latency.touch();
        tokio::time::advance(LINGER / 2).await;
        assert!(latency.expires_at().is_some());
        assert_eq!(written(&path), [0], "set once, and not withdrawn yet");
        tokio::time::advance(LINGER / 2).await;
        assert_eq!(latency.expires_at(), None);
        assert_eq!(written(&path), [0, WITHDRAWN]);
        latency.touch();
        let expiring = tokio::time::timeout(LINGER * 3, latency.expire());
        assert!(expiring.await.is_err(), "it never returns");
        assert_eq!(written(&path), [0, WITHDRAWN, 0, WITHDRAWN]);
    }

    #[test]
    fn the_limit_suits_the_processors() {
        let dir = tempfile::tempdir().expect("a directory");
        let of = |driver: &str| {
            fs::write(dir.path().join("cpuidle/current_driver"), driver).expect("written");
            best_limit(dir.path())
        };
        assert_eq!(best_limit(dir.path()), None, "a kernel without the interface");
        fs::create_dir(dir.path().join("cpuidle")).expect("made");
        fs::create_dir_all(dir.path().join("cpu0/cpuidle/state1")).expect("made");
        fs::write(dir.path().join("cpu0/cpuidle/state1/latency"), "2\n").expect("written");
        assert_eq!(of("none\n"), None);
        assert_eq!(of("haltpoll\n"), Some(0));
        assert_eq!(of("intel_idle\n"), Some(2));
    }
}
