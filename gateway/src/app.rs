//! What all handlers share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use belljar_core::id::FunctionId;
use belljar_store::Store;
use belljar_store::record::FunctionRecord;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::config::Config;
use crate::error::ApiError;
use crate::feed::Feed;
use crate::known::{KnownFunctions, ServedClasses};
use crate::metrics::Metrics;
use crate::notices::Hub;
use crate::timing::{Notes, Phase};
use crate::wakefulness::Wakefulness;

/// The state of a gateway.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) admission: Admission,
    pub(crate) hub: Arc<Hub>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) metrics: Metrics,
    pub(crate) known: KnownFunctions,
    pub(crate) served: ServedClasses,
    /// Where processors are to stay awake, and can be told.
    pub(crate) wakefulness: Option<Arc<Wakefulness>>,
    /// One permit for each KiB of bodies that may be in memory.
    pub(crate) body_room: Arc<Semaphore>,
    /// Fires when no new work is taken: whoever waits answers with what there is.
    pub(crate) draining: CancellationToken,
    /// Whether the last word of the store was that it cannot be reached.
    pub(crate) is_store_down: AtomicBool,
}

impl App {
    /// A gateway's state before its first request.
    pub(crate) fn new(
        config: Config,
        store: Store,
        admission: Admission,
        draining: CancellationToken,
    ) -> Self {
        Self {
            hub: Arc::new(Hub::new(config.max_waiters)),
            feed: Feed::new(),
            body_room: Arc::new(Semaphore::new(
                (config.max_buffered_bytes.max(config.max_body_bytes) >> 10) + 1,
            )),
            wakefulness: wakefulness(&config).map(Arc::new),
            metrics: Metrics::new(),
            known: KnownFunctions::new(),
            served: ServedClasses::new(),
            is_store_down: AtomicBool::new(false),
            config,
            store,
            admission,
            draining,
        }
    }

    /// Something happens, and more will in a moment.
    pub(crate) fn stir(&self) {
        if let Some(wakefulness) = &self.wakefulness {
            wakefulness.stir();
        }
    }

    /// The record of a function, from memory where it was seen before.
    pub(crate) async fn function(
        &self,
        id: FunctionId,
        notes: &Notes,
    ) -> Result<Arc<FunctionRecord>, ApiError> {
        if let Some(record) = self.known.get(id) {
            return Ok(record);
        }
        let found = notes.time(Phase::Store, self.store.function(id)).await?;
        let record = Arc::new(found.ok_or(ApiError::UnknownFunction(id))?);
        self.known.insert(Arc::clone(&record));
        Ok(record)
    }
}

fn wakefulness(config: &Config) -> Option<Wakefulness> {
    match config.keep_awake.then(Wakefulness::open)? {
        Ok(wakefulness) => Some(wakefulness),
        Err(why) => {
            let why: &dyn std::error::Error = &why;
            tracing::debug!(why, "processors may fall asleep");
            None
        }
    }
}
