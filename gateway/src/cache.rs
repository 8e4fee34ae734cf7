//! What the gateway caches of the store: records of functions, which never change, and for a second which
//! classes are served.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use belljar_core::id::FunctionId;
use belljar_core::task::{PythonVersion, Runtime, TaskClass};
use belljar_store::record::FunctionRecord;
use belljar_store::{Store, StoreError};
use quick_cache::sync::Cache;

/// How many functions are cached.
const FUNCTIONS: usize = 8_192;
/// How long the served classes are cached.
const FRESH: Duration = Duration::from_secs(1);

/// Records of functions that were used lately. They never change; one that is deleted is removed at every gateway by an
/// event of the store.
pub(crate) struct FunctionCache {
    records: Cache<FunctionId, Arc<FunctionRecord>>,
    removals: AtomicU64,
}

/// A moment before a record is read, so that what is removed meanwhile is not kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BeforeRead(u64);

impl FunctionCache {
    /// An empty cache.
    pub(crate) fn new() -> Self {
        Self { records: Cache::new(FUNCTIONS), removals: AtomicU64::new(0) }
    }

    /// A record.
    pub(crate) fn get(&self, id: FunctionId) -> Option<Arc<FunctionRecord>> {
        self.records.get(&id)
    }

    /// Now.
    pub(crate) fn before_read(&self) -> BeforeRead {
        BeforeRead(self.removals.load(Ordering::SeqCst))
    }

    /// Keeps what was read since then.
    pub(crate) fn insert(&self, record: &Arc<FunctionRecord>, since: BeforeRead) {
        self.records.insert(record.id, Arc::clone(record));
        if self.removals.load(Ordering::SeqCst) != since.0 {
            self.records.remove(&record.id);
        }
    }

    /// Removes one that was deleted.
    pub(crate) fn remove(&self, id: FunctionId) {
        self.removals.fetch_add(1, Ordering::SeqCst);
        self.records.remove(&id);
    }

    /// Removes all, since events may be missing.
    pub(crate) fn clear(&self) {
        self.removals.fetch_add(1, Ordering::SeqCst);
        self.records.clear();
    }
}

/// The classes that are served, in a cache.
pub(crate) struct ServedClasses {
    by: ServedBy,
    cached: Mutex<Option<(Instant, Arc<[TaskClass]>)>>,
}

/// Whose classes.
#[derive(Clone, Copy)]
pub(crate) enum ServedBy {
    /// Those of live dispatchers, also while they have no worker.
    Dispatchers,
    /// Those of live workers.
    Workers,
}

impl ServedClasses {
    /// An empty cache.
    pub(crate) fn new(by: ServedBy) -> Self {
        Self { by, cached: Mutex::default() }
    }

    /// The classes, at most a second old.
    pub(crate) async fn get(&self, store: &Store) -> Result<Arc<[TaskClass]>, StoreError> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read_at, classes)) = cached
            && read_at.elapsed() < FRESH
        {
            return Ok(classes);
        }
        self.read(store).await
    }

    /// The classes as they are now.
    pub(crate) async fn read(&self, store: &Store) -> Result<Arc<[TaskClass]>, StoreError> {
        let classes: Arc<[TaskClass]> = match self.by {
            ServedBy::Dispatchers => store.served_classes().await?.into(),
            ServedBy::Workers => store.live_classes().await?.into(),
        };
        // "None" is not cached: a dispatcher may start within that second.
        if !classes.is_empty() {
            let entry = Some((Instant::now(), Arc::clone(&classes)));
            *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = entry;
        }
        Ok(classes)
    }
}

/// The Pythons that `runtime` has among `classes`, in order.
pub(crate) fn pythons(classes: &[TaskClass], runtime: Runtime) -> Vec<PythonVersion> {
    let mut pythons: Vec<_> =
        classes.iter().filter(|class| class.runtime == runtime).map(|class| class.python).collect();
    pythons.sort_unstable();
    pythons.dedup();
    pythons
}
