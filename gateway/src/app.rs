//! The state that all handlers share.

use std::sync::Arc;

use belljar_core::id::{FunctionId, TaskId};
use belljar_store::record::FunctionRecord;
use belljar_store::{Store, TenantStore};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::addresses::Addresses;
use crate::admission::Admission;
use crate::cache::{FunctionCache, ServedBy, ServedClasses};
use crate::caller::Caller;
use crate::config::{Config, permits};
use crate::cpu_latency::CpuLatency;
use crate::error::ApiError;
use crate::event_stream::EventStream;
use crate::guest_modules::GuestCache;
use crate::keys::Keys;
use crate::live_stream::LiveStream;
use crate::metrics::Metrics;
use crate::notifier::Notifier;
use crate::outage::Outage;
use crate::policy::Quota;
use crate::share;
use crate::timing::{Phase, RequestTiming};
use crate::waiters::WaitGuard;

/// The state of a gateway.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) admission: Admission,
    pub(crate) notifier: Arc<Notifier>,
    pub(crate) events: Arc<EventStream>,
    pub(crate) live_stream: Arc<LiveStream>,
    pub(crate) metrics: Metrics,
    /// The keys of clients, where they are required.
    pub(crate) keys: Option<Keys>,
    /// The caller of every request, where they are not.
    pub(crate) anyone: Caller,
    /// How many connections each address has open.
    pub(crate) addresses: Addresses,
    pub(crate) functions: Arc<FunctionCache>,
    pub(crate) served: ServedClasses,
    /// With the labels that workers have.
    pub(crate) live: ServedClasses,
    pub(crate) guests: GuestCache,
    /// The kernel's limit on the wake-up latency of processors, where it can and should be set.
    pub(crate) cpu_latency: Option<Arc<CpuLatency>>,
    /// One permit for each KiB that bodies, and what is read from them, may take.
    pub(crate) body_room: Arc<Semaphore>,
    /// Fires when no new work is taken: requests that wait answer with what there is.
    pub(crate) draining: CancellationToken,
    /// Whether the store refuses requests.
    pub(crate) outage: Outage,
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
            live_stream: LiveStream::new(),
            body_room: Arc::new(Semaphore::new(
                // The largest body has room whatever is configured.
                (config.max_buffered_bytes >> 10).max(permits(config.max_body_bytes) as usize),
            )),
            cpu_latency: cpu_latency(&config).map(Arc::new),
            metrics: Metrics::new(),
            keys: config
                .require_keys
                .then(|| Keys::new(config.tenants.clone(), config.oidc.clone())),
            anyone: Caller::anyone(config.tenants.as_deref()),
            addresses: Addresses::default(),
            functions: Arc::new(FunctionCache::new()),
            served: ServedClasses::new(ServedBy::Dispatchers),
            live: ServedClasses::new(ServedBy::Workers),
            guests: GuestCache::default(),
            outage: Outage::default(),
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

    /// Whether requests are held against keys or quotas.
    pub(crate) fn is_guarded(&self) -> bool {
        self.keys.is_some() || self.config.tenants.is_some()
    }

    /// How many connections one address may have: as many as the operator's file says, or where tenants share, all but some for
    /// others.
    pub(crate) fn most_of_address(&self) -> Option<u32> {
        let of_file = self.config.tenants.as_ref().and_then(|it| it.file().connections_per_address);
        let all = share::of_one(self.config.max_connections as u64);
        of_file.or_else(|| self.keys.as_ref().and(u32::try_from(all).ok()))
    }

    /// The store as the caller's tenant sees it, with what it may use and its weight.
    pub(crate) fn store_of<'a>(&'a self, caller: &'a Caller) -> TenantStore<'a> {
        let view = self.store.of(caller.tenant()).with_pauses(caller.has_company());
        match caller.policy() {
            Some(policy) => {
                view.with_weight(policy.weight).with_quotas(Some(policy.quotas.of_store()))
            }
            None => view,
        }
    }

    /// Registers a request of the caller that waits for tasks.
    pub(crate) fn wait_for(
        &self,
        caller: &Caller,
        ids: Vec<TaskId>,
    ) -> Result<WaitGuard<'_>, ApiError> {
        let open = caller.open(Quota::LongPolls)?;
        let tasks = caller.take_share(Quota::WaitedTasks, ids.len(), self.config.max_waiters)?;
        Ok(self.notifier.waiters.register(ids)?.holding(open, tasks))
    }

    /// The record of a function of the caller's tenant, from the cache where it is there.
    pub(crate) async fn function(
        &self,
        id: FunctionId,
        caller: &Caller,
        timing: &RequestTiming,
    ) -> Result<Arc<FunctionRecord>, ApiError> {
        let record = match self.functions.get(id) {
            Some(record) => record,
            None => {
                let since = self.functions.before_read();
                let found = timing.time(Phase::Store, self.store.function(id)).await?;
                let record = Arc::new(found.ok_or(ApiError::UnknownFunction(id))?);
                self.functions.insert(&record, since);
                record
            }
        };
        if record.tenant != *caller.tenant() || record.is_expired() {
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
