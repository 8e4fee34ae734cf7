//! The state that all handlers share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use belljar_core::id::FunctionId;
use belljar_store::Store;
use belljar_store::record::FunctionRecord;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::cache::{FUNCTIONS, FunctionCache, ServedClasses};
use crate::caller::{Caller, Keys};
use crate::config::{Config, permits};
use crate::cpu_latency::CpuLatency;
use crate::error::ApiError;
use crate::event_stream::EventStream;
use crate::guest_modules::GuestCache;
use crate::metrics::Metrics;
use crate::notifier::Notifier;
use crate::timing::{Phase, RequestTiming};

/// The state of a gateway.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) admission: Admission,
    pub(crate) notifier: Arc<Notifier>,
    pub(crate) events: Arc<EventStream>,
    pub(crate) metrics: Metrics,
    /// The keys of clients, where they are required.
    pub(crate) keys: Option<Keys>,
    /// The caller of every request, where they are not.
    pub(crate) anyone: Caller,
    pub(crate) functions: FunctionCache,
    pub(crate) served: ServedClasses,
    pub(crate) guests: GuestCache,
    /// The kernel's limit on the wake-up latency of processors, where it can and should be set.
    pub(crate) cpu_latency: Option<Arc<CpuLatency>>,
    /// One permit for each KiB that bodies, and what is read from them, may take.
    pub(crate) body_room: Arc<Semaphore>,
    /// Fires when no new work is taken: requests that wait answer with what there is.
    pub(crate) draining: CancellationToken,
    /// Whether the store could not be reached the last time.
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
            notifier: Arc::new(Notifier::new(config.max_waiters)),
            events: EventStream::new(),
            body_room: Arc::new(Semaphore::new(
                // The largest body has room whatever is configured.
                (config.max_buffered_bytes >> 10).max(permits(config.max_body_bytes) as usize),
            )),
            cpu_latency: cpu_latency(&config).map(Arc::new),
            metrics: Metrics::new(),
            keys: config.require_keys.then(Keys::new),
            anyone: Caller::anyone(),
            functions: FunctionCache::new(FUNCTIONS),
            served: ServedClasses::default(),
            guests: GuestCache::default(),
            is_store_down: AtomicBool::new(false),
            config,
            store,
            admission,
            draining,
        }
    }

    /// Keeps processors awake for a moment, as more work is about to follow.
    pub(crate) fn touch(&self) {
        if let Some(latency) = &self.cpu_latency {
            latency.touch();
        }
    }

    /// The record of a function of the caller's tenant, from the cache where it is there.
    pub(crate) async fn function(
        &self,
        id: FunctionId,
        caller: &Caller,
        timing: &RequestTiming,
    ) -> Result<Arc<FunctionRecord>, ApiError> {
        let record = match self.functions.get(&id) {
            Some(record) => record,
            None => {
                let found = timing.time(Phase::Store, self.store.function(id)).await?;
                let record = Arc::new(found.ok_or(ApiError::UnknownFunction(id))?);
                self.functions.insert(id, Arc::clone(&record));
                record
            }
        };
        if record.tenant != *caller.tenant() {
            // As long as the answer for an id that nobody has: the time must not tell that it exists.
            timing.time(Phase::Store, self.store.function(id)).await?;
            return Err(ApiError::UnknownFunction(id));
        }
        Ok(record)
    }
}

fn cpu_latency(config: &Config) -> Option<CpuLatency> {
    match config.low_latency.then(CpuLatency::open)? {
        Ok(latency) => Some(latency),
        Err(why) => {
            let why: &dyn std::error::Error = &why;
            tracing::debug!(why, "the latency of processors cannot be limited");
            None
        }
    }
}
