//! What running tasks show of themselves, for the clients of `/v1/tasks/{task_id}/output`. Its subscription lasts as long as there
//! are such clients, and brings nothing of tasks that nobody watches.

use std::sync::Arc;
use std::time::Duration;

use belljar_core::live::LiveUpdate;
use belljar_store::{Store, StoreEvent, Subscription, Topic};
use tokio::sync::{Mutex, broadcast};
use tokio::time::timeout;

use crate::error::ApiError;

/// How many messages a client may fall behind before it is told what tasks have written from their last bytes on.
const MESSAGES: usize = 64;
/// How long a subscription may take to come up.
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon the subscription ends after the last client, where no message comes.
const LINGER: Duration = Duration::from_secs(10);

/// A message for the clients.
#[derive(Debug, Clone)]
pub(crate) enum LiveMessage {
    /// What some tasks show.
    Updates(Arc<Vec<LiveUpdate>>),
    /// The subscription was interrupted: something may be missing.
    Gap,
}

/// Between the subscription and the clients.
pub(crate) struct LiveStream {
    messages: broadcast::Sender<LiveMessage>,
    /// Whether there is a subscription.
    is_on: Mutex<bool>,
}

impl LiveStream {
    /// A stream without clients.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { messages: broadcast::Sender::new(MESSAGES), is_on: Mutex::new(false) })
    }

    /// All messages from now on.
    pub(crate) async fn watch(
        self: &Arc<Self>,
        store: &Store,
    ) -> Result<broadcast::Receiver<LiveMessage>, ApiError> {
        let mut is_on = self.is_on.lock().await;
        let receiver = self.messages.subscribe();
        if !*is_on {
            let mut events = store.subscribe(&[Topic::Live]).await?;
            // The first says that the subscription is up.
            let is_up = timeout(PATIENCE, events.next()).await;
            is_up.map_err(|_| ApiError::NotReady("the store sends no events".to_owned()))?;
            *is_on = true;
            tokio::spawn(Arc::clone(self).forward(events));
        }
        Ok(receiver)
    }

    /// Forwards messages while there are clients.
    async fn forward(self: Arc<Self>, mut events: Subscription) {
        loop {
            // An error only means that there is no client.
            match timeout(LINGER, events.next()).await {
                Ok(StoreEvent::Live(updates)) => {
                    let _ = self.messages.send(LiveMessage::Updates(Arc::new(updates)));
                }
                Ok(StoreEvent::Connected) => {
                    let _ = self.messages.send(LiveMessage::Gap);
                }
                _ => {}
            }
            if self.messages.receiver_count() == 0 {
                let mut is_on = self.is_on.lock().await;
                // Under the lock, as a client may have come meanwhile.
                if self.messages.receiver_count() == 0 {
                    *is_on = false;
                    return;
                }
            }
        }
    }
}
