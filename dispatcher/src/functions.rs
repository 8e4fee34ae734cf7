//! The functions that this dispatcher has handed out lately, so that their bytes are read from the
//! store once and not for every task.

use std::collections::HashSet;
use std::sync::Arc;

use belljar_core::invocation::{Function, Invocation};
use belljar_core::outcome::{Failure, FailureKind, Outcome, Verdict};
use belljar_core::task::CodeHash;
use belljar_store::Store;
use belljar_store::record::{ClaimedTask, Finished};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::time::Duration;

use crate::event::Assignment;
use crate::retry;
use crate::scheduler::NO_WORKER;

/// How many bytes of functions are kept.
const CACHE_BYTES: u64 = 64 << 20;
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
        Self(Arc::new(Cache::with_weighter(CACHE_ENTRIES, CACHE_BYTES, BySize)))
    }

    /// Puts each task together with its function. A task whose function the store has lost cannot
    /// run: it comes back as ended.
    pub(crate) async fn attach(
        &self,
        store: &Store,
        tasks: Vec<ClaimedTask>,
    ) -> (Vec<Assignment>, Vec<Finished>) {
        let mut lost = HashSet::new();
        let mut assignments = Vec::with_capacity(tasks.len());
        let mut ended = Vec::new();
        for task in tasks {
            let hash = task.spec.code;
            let known = if lost.contains(&hash) { None } else { self.code(store, hash).await };
            match known {
                Some(code) => assignments.push(assignment(task, code)),
                None => {
                    lost.insert(hash);
                    ended.push(without_function(&task));
                }
            }
        }
        (assignments, ended)
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

fn assignment(task: ClaimedTask, code: Bytes) -> Assignment {
    let invocation = Invocation {
        task_id: task.id,
        attempt: task.attempt,
        class: task.spec.class,
        limits: task.spec.limits,
        function: Function { hash: task.spec.code, code },
        args: task.args,
        grants: task.spec.grants,
    };
    Assignment { invocation, deaths: task.deaths }
}

fn without_function(task: &ClaimedTask) -> Finished {
    let text = format!("the store no longer has function {}", task.spec.function_id);
    let failure = Failure::by_platform(FailureKind::Limit, text);
    let outcome = Outcome::bare(Verdict::Failed(failure), Duration::ZERO);
    Finished { id: task.id, attempt: task.attempt, worker: NO_WORKER, outcome }
}
