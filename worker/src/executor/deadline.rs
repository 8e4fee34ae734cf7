//! A timer that costs nothing while calls end before their deadline.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// Waits for deadlines, one after the other. Arming a timer of the runtime wakes its driver, which costs
/// some four microseconds. The next deadline is nearly always later than the last, so the timer stays
/// armed for an earlier one, and is armed again only when it fires.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Returns when `deadline` has passed.
    pub(super) async fn passed(&mut self, deadline: Instant) {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.is_elapsed() || timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            timer.as_mut().await;
            if Instant::now() >= deadline {
                return;
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn deadlines_hold_whatever_was_armed_before() {
        let mut deadline = Deadline::default();
        for milliseconds in [1000_u64, 50, 2000, 2000, 10, 30_000] {
            let limit = Duration::from_millis(milliseconds);
            let start = Instant::now();
            // A call that ends early leaves its timer armed.
            let early = deadline.passed(start + 2 * limit);
            assert!(timeout(limit / 2, early).await.is_err());
            let start = Instant::now();
            deadline.passed(start + limit).await;
            assert_eq!(start.elapsed().as_millis(), limit.as_millis());
        }
    }
}
