//! What the dispatcher has assigned to this worker: the attempts, and the code that they need. Pure.

use std::collections::{HashMap, VecDeque};

use belljar_core::invocation::Invocation;
use belljar_core::task::{CodeHash, TaskAttempt};

use super::code_cache::CodeCache;

/// How many stops are remembered that came before their task, on the other connection.
const EARLY_STOPS: usize = 256;

/// In which session an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Current,
    Earlier,
}

/// What becomes of an assigned task.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// It should run.
    Run(Box<Invocation>),
    /// It was stopped before it came.
    Stopped(TaskAttempt),
    /// Its code is not here. The dispatcher is to send it again, with the code.
    CodeMissing(TaskAttempt),
}

/// Attempts in the pool, and cached code.
#[derive(Debug, Default)]
pub(crate) struct Assignments {
    in_flight: HashMap<TaskAttempt, Origin>,
    code: CodeCache,
    /// Code that the dispatcher still believes to be here.
    evicted: Vec<CodeHash>,
    early_stops: VecDeque<TaskAttempt>,
}

impl Assignments {
    /// A connection begins, of the same session as before.
    pub(crate) fn reconnected(&mut self) {
        self.early_stops.clear();
    }

    /// A session begins: the dispatcher sends all code again.
    pub(crate) fn session_began(&mut self) {
        self.code.clear();
        self.evicted.clear();
        self.in_flight.values_mut().for_each(|origin| *origin = Origin::Earlier);
    }

    pub(crate) fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// How many came in earlier sessions.
    pub(crate) fn earlier(&self) -> usize {
        self.in_flight.values().filter(|origin| **origin == Origin::Earlier).count()
    }

    pub(crate) fn attempts(&self) -> impl Iterator<Item = TaskAttempt> {
        self.in_flight.keys().copied()
    }

    /// The pool has this attempt no more.
    pub(crate) fn remove(&mut self, task: TaskAttempt) {
        self.in_flight.remove(&task);
    }

    /// Whether the pool has it and must stop it. One that has not come yet is stopped when it does.
    pub(crate) fn stop(&mut self, task: TaskAttempt) -> bool {
        let is_here = self.in_flight.contains_key(&task);
        if !is_here {
            self.early_stops.truncate(EARLY_STOPS - 1);
            self.early_stops.push_front(task);
        }
        is_here
    }

    /// Takes what the dispatcher sent. Its code is kept also where the task is not run.
    pub(crate) fn accept(&mut self, mut invocation: Invocation) -> Accepted {
        let (task, hash) = (invocation.task, invocation.spec.code);
        match &invocation.code {
            Some(code) => self.evicted.extend(self.code.insert(hash, code.clone())),
            None => invocation.code = self.code.get(&hash),
        }
        if self.early_stops.contains(&task) {
            return Accepted::Stopped(task);
        }
        if invocation.code.is_none() {
            self.evicted.push(hash);
            return Accepted::CodeMissing(task);
        }
        self.in_flight.insert(task, Origin::Current);
        Accepted::Run(Box::new(invocation))
    }

    pub(crate) fn has_evicted(&self) -> bool {
        !self.evicted.is_empty()
    }

    pub(crate) fn take_evicted(&mut self) -> Vec<CodeHash> {
        std::mem::take(&mut self.evicted)
    }
}
