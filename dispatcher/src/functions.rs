//! The functions that this dispatcher has handed out lately, so that their bytes are read from the
//! store once and not for every task.

use std::collections::HashSet;
use std::sync::Arc;

use belljar_core::limits::CODE_CACHE_BYTES;
use belljar_core::outcome::{Failure, FailureKind, Outcome, Report, CallVerdict};
use belljar_core::task::CodeHash;
use belljar_store::Store;
use belljar_store::record::{ClaimedTask, Completion};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::time::Duration;

use crate::retry;
use crate::scheduler::NO_WORKER;

/// About how many functions fit, for sizing the cache's tables.
const CACHE_ENTRIES: usize = 10_000;

/// A cheap clone: all clones share one cache.
#[derive(Clone)]
pub(crate) struct Functions(Arc<Cache<CodeHash, Bytes, BySize>>);

#[derive(Clone)]
struct BySize;

impl Weighter<CodeHash, Bytes> for BySize {
    fn weight(&self, _: &CodeHash, code: &Bytes) -> u64 {
        code.len() as u64 + 128
    }
}

impl Functions {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Cache::with_weighter(CACHE_ENTRIES, CODE_CACHE_BYTES as u64, BySize)))
    }

    /// Puts each task together with its function. A task whose function the store has lost cannot
    /// run: it comes back as ended.
    pub(crate) async fn attach(
        &self,
        store: &Store,
        tasks: Vec<ClaimedTask>,
    ) -> (Vec<ClaimedTask>, Vec<Completion>) {
        let mut lost = HashSet::new();
        let mut whole = Vec::with_capacity(tasks.len());
        let mut ended = Vec::new();
        for mut task in tasks {
            let hash = task.invocation.spec.code;
            task.invocation.code =
                if lost.contains(&hash) { None } else { self.code(store, hash).await };
            if task.invocation.code.is_some() {
                whole.push(task);
            } else {
                lost.insert(hash);
                ended.push(without_function(&task));
            }
        }
        (whole, ended)
    }

    async fn code(&self, store: &Store, hash: CodeHash) -> Option<Bytes> {
        if let Some(code) = self.0.get(&hash) {
            return Some(code);
        }
        let code = retry::until_ok("read a function", || store.code(hash)).await?;
        self.0.insert(hash, code.clone());
        Some(code)
    }
}

fn without_function(task: &ClaimedTask) -> Completion {
    let function_id = task.invocation.spec.function_id;
    let text = format!("the store no longer has function {function_id}");
    let failure = Failure::by_platform(FailureKind::Limit, text);
    let outcome = Outcome::bare(CallVerdict::Failed(failure), Duration::ZERO);
    Completion { worker: NO_WORKER, report: Report { task: task.task(), outcome } }
}
