//! Counts what is queued for a peer. The zeromq crate has queues of 100,000 messages of any length and
//! blocks every sender once one of them is full. With this quota none is ever full.

use tokio::sync::Semaphore;

use crate::config::PeerLimits;
use crate::error::SendError;

/// The quota of bytes queued for one peer. A message reserves its share when it is sent, and releases
/// it once the proxy has written its last byte to the network.
#[derive(Debug)]
pub(crate) struct SendQuota {
    free: Semaphore,
    capacity: u32,
    max_message_bytes: usize,
    per_message: usize,
}

impl SendQuota {
    pub(crate) fn new(limits: &PeerLimits) -> Self {
        let one_message = limits.message_bytes.saturating_add(PeerLimits::MESSAGE_COST_BYTES);
        let capacity = u32::try_from(limits.queue_bytes.max(one_message)).unwrap_or(u32::MAX);
        // At any capacity it admits at most half as many messages as would block zeromq.
        let per_message = PeerLimits::MESSAGE_COST_BYTES.max(capacity as usize / 50_000);
        let max_message_bytes = limits.message_bytes.min(capacity as usize - per_message);
        let free = Semaphore::new(capacity as usize);
        Self { free, capacity, max_message_bytes, per_message }
    }

    /// Reserves the share of a message, if it is free.
    pub(crate) fn try_reserve(&self, length: usize) -> Result<(), SendError> {
        let cost = self.cost(length)?;
        match self.free.try_acquire_many(cost) {
            Ok(permit) => permit.forget(),
            Err(tokio::sync::TryAcquireError::NoPermits) => return Err(SendError::Full),
            Err(tokio::sync::TryAcquireError::Closed) => return Err(SendError::Disconnected),
        }
        Ok(())
    }

    /// Reserves the share of a message as soon as it is free.
    pub(crate) async fn reserve(&self, length: usize) -> Result<(), SendError> {
        let cost = self.cost(length)?;
        let permit = self.free.acquire_many(cost).await.map_err(|_| SendError::Disconnected)?;
        permit.forget();
        Ok(())
    }

    /// Releases the shares of messages that have left; `bytes` is their total length.
    pub(crate) fn release(&self, messages: usize, bytes: usize) {
        self.free.add_permits(bytes + messages * self.per_message);
    }

    /// Waits until nothing is queued.
    pub(crate) async fn drained(&self) {
        // An error means that it is closed: nothing will leave any more.
        let _ = self.free.acquire_many(self.capacity).await;
    }

    /// Refuses every later message.
    pub(crate) fn close(&self) {
        self.free.close();
    }

    fn cost(&self, length: usize) -> Result<u32, SendError> {
        if length > self.max_message_bytes {
            return Err(SendError::TooLong { bytes: length, limit: self.max_message_bytes });
        }
        Ok(u32::try_from(length + self.per_message).unwrap_or(self.capacity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_is_bounded_and_released() {
        let limits = PeerLimits { message_bytes: 1000, queue_bytes: 0, ..PeerLimits::default() };
        let quota = SendQuota::new(&limits);
        let long = SendError::TooLong { bytes: 1001, limit: 1000 };
        assert_eq!(quota.try_reserve(1001), Err(long));
        assert_eq!(quota.try_reserve(1000), Ok(()));
        assert_eq!(quota.try_reserve(0), Err(SendError::Full));
        quota.release(1, 1000);
        assert_eq!(quota.try_reserve(1000), Ok(()));
        quota.close();
        assert_eq!(quota.try_reserve(0), Err(SendError::Disconnected));
    }

    #[test]
    fn no_setting_admits_too_many_messages() {
        let limits = PeerLimits { queue_bytes: usize::MAX, ..PeerLimits::default() };
        let quota = SendQuota::new(&limits);
        assert!(quota.capacity as usize / quota.per_message <= 50_000);
    }
}
