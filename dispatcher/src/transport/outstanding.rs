//! The attempts that one worker has or will get, and has not answered.

use std::collections::{HashMap, HashSet};

use belljar_core::task::TaskAttempt;

/// The unanswered attempts of one worker.
#[derive(Debug, Default)]
pub(crate) struct Outstanding(HashMap<TaskAttempt, State>);

#[derive(Debug, Clone, Copy)]
struct State {
    delivery: Delivery,
    /// Whether the worker was told to stop it.
    is_stopped: bool,
}

/// Whether an attempt reaches its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// As far as is known.
    Expected,
    /// It may have been lost with a connection.
    Doubtful,
}

impl Outstanding {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn insert(&mut self, task: TaskAttempt, delivery: Delivery) {
        self.0.insert(task, State { delivery, is_stopped: false });
    }

    /// The worker has said what became of an attempt, or never had it.
    pub(crate) fn remove(&mut self, task: TaskAttempt) {
        self.0.remove(&task);
    }

    /// Whether an attempt is unanswered.
    pub(crate) fn has(&self, task: TaskAttempt) -> bool {
        self.0.contains_key(&task)
    }

    /// Notes that the worker is told to stop an attempt. `false` if it is answered or stopped already.
    pub(crate) fn stop(&mut self, task: TaskAttempt) -> bool {
        self.0.get_mut(&task).is_some_and(|state| !std::mem::replace(&mut state.is_stopped, true))
    }

    /// The attempts that the worker was told to stop.
    pub(crate) fn stopped(&self) -> Vec<TaskAttempt> {
        let stopped = self.0.iter().filter(|(_, state)| state.is_stopped);
        stopped.map(|(task, _)| *task).collect()
    }

    /// These attempts may be lost.
    pub(crate) fn doubt(&mut self, tasks: Vec<TaskAttempt>) {
        for task in tasks {
            if let Some(state) = self.0.get_mut(&task) {
                state.delivery = Delivery::Doubtful;
            }
        }
    }

    /// Every attempt may be lost.
    pub(crate) fn doubt_all(&mut self) {
        self.0.values_mut().for_each(|state| state.delivery = Delivery::Doubtful);
    }

    /// The worker says what it has: removes and returns what it never got.
    pub(crate) fn take_missing(&mut self, held: &[TaskAttempt]) -> Vec<TaskAttempt> {
        let held: HashSet<_> = held.iter().copied().collect();
        let is_missing = |task: &TaskAttempt, state: &mut State| {
            let was = std::mem::replace(&mut state.delivery, Delivery::Expected);
            was == Delivery::Doubtful && !held.contains(task)
        };
        self.0.extract_if(is_missing).map(|(task, _)| task).collect()
    }
}
