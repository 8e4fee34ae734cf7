//! Clocks, and the one thing that a guest can wait for: time.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_getres, clock_gettime};

use super::context::Wasi;
use super::errno::Errno;
use super::files::Files;
use super::guest::Bytes;

/// Events that one wait may be about.
const EVENTS: u32 = 1024;
const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;

fn clock(id: u32) -> Result<ClockId, Errno> {
    match id {
        0 => Ok(ClockId::Realtime),
        1 => Ok(ClockId::Monotonic),
        2 => Ok(ClockId::ProcessCPUTime),
        3 => Ok(ClockId::ThreadCPUTime),
        _ => Err(Errno::INVAL),
    }
}

fn nanoseconds(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The time of the clock `id`.
pub(crate) fn now(id: u32) -> Result<u64, Errno> {
    Ok(nanoseconds(clock_gettime(clock(id)?)))
}

/// The resolution of the clock `id`.
pub(crate) fn resolution(id: u32) -> Result<u64, Errno> {
    Ok(nanoseconds(clock_getres(clock(id)?)))
}

/// What a subscription waits for.
const CLOCK: u8 = 0;
const WRITABLE: u8 = 2;

struct Subscription {
    user_data: u64,
    kind: u8,
    /// How long a clock's subscription waits; nothing for files, which are always ready.
    wait: Duration,
    error: Option<Errno>,
}

fn subscription(memory: &Bytes<'_>, files: &Files, at: u32) -> Result<Subscription, Errno> {
    const ABSOLUTE: u16 = 1;
    let (user_data, kind) = (memory.u64(at)?, memory.u8(at + 8)?);
    if kind > WRITABLE {
        return Err(Errno::INVAL);
    }
    let id = memory.u32(at + 16)?;
    if kind != CLOCK {
        let error = files.look(id).err();
        return Ok(Subscription { user_data, kind, wait: Duration::ZERO, error });
    }
    let (mut timeout, flags) = (memory.u64(at + 24)?, memory.u16(at + 40)?);
    // Nobody waits for processor time to pass.
    if flags & !ABSOLUTE != 0 || !matches!(clock(id)?, ClockId::Realtime | ClockId::Monotonic) {
        return Err(Errno::INVAL);
    }
    if flags & ABSOLUTE != 0 {
        timeout = timeout.saturating_sub(now(id)?);
    }
    Ok(Subscription { user_data, kind, wait: Duration::from_nanos(timeout), error: None })
}

/// Waits for the first of the subscriptions at `list` and reports those that are due at `events`.
/// `Ok(None)`: the deadline came first.
pub(crate) fn wait(
    memory: &mut Bytes<'_>,
    wasi: &Wasi,
    [list, events, count]: [u32; 3],
) -> Result<Option<u32>, Errno> {
    if count == 0 || count > EVENTS {
        return Err(Errno::INVAL);
    }
    // One check for all the arithmetic below.
    memory.slice(list, count * SUBSCRIPTION_BYTES)?;
    memory.slice(events, count * EVENT_BYTES)?;
    let all = (0..count).map(|i| subscription(memory, &wasi.files, list + i * SUBSCRIPTION_BYTES));
    let all = all.collect::<Result<Vec<_>, _>>()?;
    let shortest = all.iter().map(|one| one.wait).min().unwrap_or_default();
    let left = wasi.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    std::thread::sleep(left.map_or(shortest, |left| left.min(shortest)));
    if left.is_some_and(|left| left < shortest) {
        return Ok(None);
    }
    let mut reported = 0;
    for due in all.iter().filter(|one| one.wait <= shortest) {
        let at = events + reported * EVENT_BYTES;
        memory.write(at, &[0; EVENT_BYTES as usize])?;
        memory.write_u64(at, due.user_data)?;
        if let Some(error) = due.error {
            memory.write(at + 8, &error.to_le_bytes())?;
        }
        memory.write(at + 10, &[due.kind])?;
        if due.kind != CLOCK && due.error.is_none() {
            // At least one byte can be moved.
            memory.write_u64(at + 16, 1)?;
        }
        reported += 1;
    }
    Ok(Some(reported))
}
