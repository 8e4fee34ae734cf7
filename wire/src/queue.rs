//! What waits for a peer, counted: the zeromq crate has queues of 100,000 messages of any length, and
//! makes every sender wait once one of them is full. Counted here, none ever is.

use tokio::sync::Semaphore;

use crate::config::Limits;
use crate::error::SendError;

/// The room left for messages to one peer. Room is taken when a message is sent, and given back when
/// the guard has passed its last byte to the network.
#[derive(Debug)]
pub(crate) struct Queue {
    room: Semaphore,
    capacity: u32,
    longest: usize,
    per_message: usize,
}

impl Queue {
    pub(crate) fn new(limits: &Limits) -> Self {
        let least = limits.message_bytes.saturating_add(Limits::MESSAGE_COST_BYTES);
        let capacity = u32::try_from(limits.queue_bytes.max(least)).unwrap_or(u32::MAX);
        // However large the room, fewer than half as many messages as would be too many for zeromq.
        let per_message = Limits::MESSAGE_COST_BYTES.max(capacity as usize / 50_000);
        let longest = limits.message_bytes.min(capacity as usize - per_message);
        Self { room: Semaphore::new(capacity as usize), capacity, longest, per_message }
    }

    /// Takes room for a message, if there is enough.
    pub(crate) fn try_take(&self, length: usize) -> Result<(), SendError> {
        let cost = self.cost(length)?;
        match self.room.try_acquire_many(cost) {
            Ok(permit) => permit.forget(),
            Err(tokio::sync::TryAcquireError::NoPermits) => return Err(SendError::Full),
            Err(tokio::sync::TryAcquireError::Closed) => return Err(SendError::Gone),
        }
        Ok(())
    }

    /// Takes room for a message, as soon as there is enough.
    pub(crate) async fn take(&self, length: usize) -> Result<(), SendError> {
        let cost = self.cost(length)?;
        let permit = self.room.acquire_many(cost).await.map_err(|_| SendError::Gone)?;
        permit.forget();
        Ok(())
    }

    /// Gives back the room of messages that have left, of this length together.
    pub(crate) fn give(&self, messages: usize, bytes: usize) {
        self.room.add_permits(bytes + messages * self.per_message);
    }

    /// Waits until nothing waits.
    pub(crate) async fn emptied(&self) {
        // An error says that it was closed: nothing will leave it any more.
        let _ = self.room.acquire_many(self.capacity).await;
    }

    /// Nothing more is taken.
    pub(crate) fn close(&self) {
        self.room.close();
    }

    fn cost(&self, length: usize) -> Result<u32, SendError> {
        if length > self.longest {
            return Err(SendError::TooLong { bytes: length, limit: self.longest });
        }
        Ok(u32::try_from(length + self.per_message).unwrap_or(self.capacity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_and_comes_back() {
        let limits = Limits { message_bytes: 1000, queue_bytes: 0, ..Limits::default() };
        let queue = Queue::new(&limits);
        let long = SendError::TooLong { bytes: 1001, limit: 1000 };
        assert_eq!(queue.try_take(1001), Err(long));
        assert_eq!(queue.try_take(1000), Ok(()));
        assert_eq!(queue.try_take(0), Err(SendError::Full));
        queue.give(1, 1000);
        assert_eq!(queue.try_take(1000), Ok(()));
        queue.close();
        assert_eq!(queue.try_take(0), Err(SendError::Gone));
    }

    #[test]
    fn no_setting_lets_too_many_messages_wait() {
        let limits = Limits { queue_bytes: usize::MAX, ..Limits::default() };
        let queue = Queue::new(&limits);
        assert!(queue.capacity as usize / queue.per_message <= 50_000);
    }
}
