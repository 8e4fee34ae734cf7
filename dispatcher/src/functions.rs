//! The code of the functions that this dispatcher has sent lately, so that it is read from the store
//! once and not for every task.

use std::collections::HashSet;
use std::sync::Arc;

use belljar_core::limits::CODE_CACHE_BYTES;
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome, Report};
use belljar_core::task::CodeHash;
use belljar_store::Store;
use belljar_store::record::{ClaimedTask, Completion};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::time::Duration;

use crate::event::NO_WORKER;
use crate::retry;

/// About how many functions fit. It sizes the cache's tables.
const CACHE_ENTRIES: usize = 10_000;

/// The cache. Clones are cheap and share it.
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

    /// Attaches the code to each task. A task whose function the store has lost cannot run: it is
    /// returned with its outcome.
    pub(crate) async fn attach(
        &self,
        store: &Store,
        tasks: Vec<ClaimedTask>,
    ) -> (Vec<ClaimedTask>, Vec<Completion>) {
        let mut lost = HashSet::new();
        let mut complete = Vec::with_capacity(tasks.len());
        let mut ended = Vec::new();
        for mut task in tasks {
            let hash = task.invocation.spec.code;
            task.invocation.code =
                if lost.contains(&hash) { None } else { self.code(store, hash).await };
            if task.invocation.code.is_some() {
                complete.push(task);
            } else {
                lost.insert(hash);
                ended.push(without_function(&task));
            }
        }
        (complete, ended)
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
