//! What the gateway remembers of the store: records of functions, which never change, and for a
//! second which classes are served.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use belljar_core::id::FunctionId;
use belljar_core::task::{PythonVersion, Runtime, TaskClass};
use belljar_store::record::FunctionRecord;
use belljar_store::{Store, StoreError};

/// How many functions one generation holds; two generations are kept.
const GENERATION: usize = 4_096;
/// How long the served classes are believed.
const FRESH: Duration = Duration::from_secs(1);

/// Records in two generations: what is used moves to the young one, and when that is full the old
/// one is forgotten. Bounded, and the records in use stay.
pub(crate) struct KnownFunctions(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<FunctionId, Arc<FunctionRecord>>,
    old: HashMap<FunctionId, Arc<FunctionRecord>>,
}

impl KnownFunctions {
    /// Nothing is known yet.
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record, if it is remembered.
    pub(crate) fn get(&self, id: FunctionId) -> Option<Arc<FunctionRecord>> {
        let mut known = self.lock();
        if let Some(record) = known.young.get(&id) {
            return Some(Arc::clone(record));
        }
        let record = known.old.remove(&id)?;
        known.insert(Arc::clone(&record));
        Some(record)
    }

    /// Remembers a record.
    pub(crate) fn insert(&self, record: Arc<FunctionRecord>) {
        self.lock().insert(record);
    }
}

impl Generations {
    fn insert(&mut self, record: Arc<FunctionRecord>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(record.id, record);
    }
}

/// The classes that live dispatchers serve.
pub(crate) struct ServedClasses(Mutex<Option<(Instant, Arc<[TaskClass]>)>>);

impl ServedClasses {
    /// Nothing is known yet.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The classes, at most a second old.
    pub(crate) async fn get(&self, store: &Store) -> Result<Arc<[TaskClass]>, StoreError> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read_at, classes)) = known
            && read_at.elapsed() < FRESH
        {
            return Ok(classes);
        }
        self.look(store).await
    }

    /// The classes as they are now.
    pub(crate) async fn look(&self, store: &Store) -> Result<Arc<[TaskClass]>, StoreError> {
        let classes: Arc<[TaskClass]> = store.served_classes().await?.into();
        // "Nobody" is not believed for a second: a dispatcher may just have come.
        if !classes.is_empty() {
            let entry = Some((Instant::now(), Arc::clone(&classes)));
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = entry;
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

#[cfg(test)]
mod tests {
    use belljar_core::task::{CodeHash, TaskLimits};
    use belljar_store::record::Timestamp;

    use super::*;

    fn record() -> Arc<FunctionRecord> {
        let python = PythonVersion { major: 3, minor: 11 };
        Arc::new(FunctionRecord {
            id: FunctionId::random(),
            name: String::new(),
            description: String::new(),
            class: TaskClass { runtime: Runtime::Native, python },
            limits: TaskLimits::DEFAULT,
            grants: None,
            code: CodeHash::of(b""),
            code_bytes: 0,
            registered_at: Timestamp(0),
        })
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let known = KnownFunctions::new();
        let used = record();
        known.insert(Arc::clone(&used));
        for _ in 0..3 * GENERATION {
            known.insert(record());
            assert!(known.get(used.id).is_some());
        }
        let generations = known.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION);
    }
}
