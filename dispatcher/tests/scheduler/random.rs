//! Random sequences of events.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use belljar_core::id::{TaskId, WorkerId};
use belljar_core::task::TaskAttempt;
use belljar_dispatcher::event::{SchedulerAction, SchedulerEvent, WorkerCapacity};
use belljar_dispatcher::scheduler::Scheduler;
use belljar_store::record::{ClaimedTask, UnreadArgs};
use proptest::prelude::*;

use super::{assignment, class, completed, died};

/// The store and the workers around a scheduler, which act in any order.
struct World {
    scheduler: Scheduler,
    now: Instant,
    windows: HashMap<WorkerId, usize>,
    running: HashMap<TaskAttempt, WorkerId>,
    /// Calls whose arguments are being read for a worker.
    reading: HashMap<TaskAttempt, (WorkerId, ClaimedTask)>,
    /// Whether one of these is being sent.
    is_sent_late: bool,
    /// Calls that were told to stop and have not ended.
    stopped: HashMap<TaskAttempt, WorkerId>,
    settling: Vec<TaskAttempt>,
    opened: HashSet<TaskAttempt>,
    ended: HashSet<TaskAttempt>,
    wanted: Option<usize>,
    reconciling: bool,
    /// Whether the store delivers tasks to this dispatcher when they come.
    is_registered: bool,
}

impl World {
    fn new() -> Self {
        Self {
            scheduler: Scheduler::new(0),
            now: Instant::now(),
            windows: HashMap::new(),
            running: HashMap::new(),
            reading: HashMap::new(),
            is_sent_late: false,
            stopped: HashMap::new(),
            settling: Vec::new(),
            opened: HashSet::new(),
            ended: HashSet::new(),
            wanted: None,
            reconciling: false,
            is_registered: false,
        }
    }

    fn handle(&mut self, event: SchedulerEvent) {
        for action in self.scheduler.handle(event, self.now) {
            match action {
                SchedulerAction::Claim(wants) => {
                    assert!(self.wanted.is_none() && !self.reconciling, "one request at a time");
                    self.wanted = Some(wants.iter().map(|want| want.count).sum());
                    self.is_registered = false;
                }
                SchedulerAction::CompareLeases => {
                    assert!(self.wanted.is_none() && !self.reconciling, "one request at a time");
                    self.reconciling = true;
                }
                SchedulerAction::Send { worker, invocations } => {
                    for sent in invocations {
                        self.running.insert(sent.task, worker);
                    }
                    // What was read for a while had its place before the window became smaller.
                    let fits = self.is_sent_late || self.load(worker) <= self.windows[&worker];
                    assert!(fits, "more than the window");
                }
                SchedulerAction::ReadArgs { worker, task } => {
                    self.reading.insert(task.task(), (worker, task));
                    assert!(self.load(worker) <= self.windows[&worker], "more than the window");
                }
                SchedulerAction::Stop { task, .. } => {
                    let stopped = self.running.remove_entry(&task);
                    self.stopped.extend(stopped);
                    let unread = self.reading.remove(&task);
                    self.stopped.extend(unread.map(|(worker, _)| (task, worker)));
                }
                SchedulerAction::CapacityFreed(_)
                | SchedulerAction::Watch { .. }
                | SchedulerAction::Publish(_) => {}
                SchedulerAction::Complete(finished) => self.end(finished.report.task),
                SchedulerAction::Requeue(requeued) => self.end(requeued.task),
            }
        }
    }

    fn load(&self, worker: WorkerId) -> usize {
        let reading = self.reading.values().map(|(worker, _)| worker);
        let all = self.running.values().chain(self.stopped.values()).chain(reading);
        all.filter(|on| **on == worker).count()
    }

    /// A dispatcher with room claims tasks, or the store delivers them.
    fn check_gets_new_work(&self) {
        let has_room = self.windows.iter().any(|(id, window)| self.load(*id) < *window);
        let asks = self.wanted.is_some() || self.reconciling;
        assert!(!has_room || asks || self.is_registered, "it would wait forever");
    }

    fn end(&mut self, task: TaskAttempt) {
        assert!(self.opened.contains(&task), "an attempt that was never opened");
        assert!(self.ended.insert(task), "an attempt that ends twice");
        self.stopped.remove(&task);
        self.settling.push(task);
    }

    /// The store has read the arguments of a call, or cannot.
    fn read_args(&mut self, at: usize) {
        let Some(task) = self.reading.keys().min().copied() else { return };
        let Some((worker, claimed)) = self.reading.remove(&task) else { return };
        if at.is_multiple_of(3) {
            let reports = vec![completed(task)];
            return self.handle(SchedulerEvent::Reported { worker: WorkerId::random(), reports });
        }
        let invocation = Box::new(claimed.invocation);
        self.is_sent_late = true;
        self.handle(SchedulerEvent::ArgsRead { worker, invocation });
        self.is_sent_late = false;
    }

    fn pick(&self, at: usize) -> Option<(TaskAttempt, WorkerId)> {
        let mut all: Vec<_> = self.running.iter().map(|(task, worker)| (*task, *worker)).collect();
        all.sort_unstable();
        (!all.is_empty()).then(|| all[at % all.len()])
    }

    /// Time passes, and the store notifies.
    fn pass_time(&mut self, at: usize) {
        self.now += Duration::from_millis(at as u64 % 3000);
        self.handle(SchedulerEvent::Tick);
        if at.is_multiple_of(2) {
            self.is_registered = false;
            self.handle(SchedulerEvent::WorkAvailable);
        } else {
            self.handle(SchedulerEvent::StoreReconnected);
        }
    }

    /// The store delivers tasks.
    fn deliver(&mut self, at: usize) {
        // Any number: the store may know an older demand.
        let tasks: Vec<_> = (0..at % 4).map(|_| assignment(TaskId::random(), 1, 0)).collect();
        let is_last = at.is_multiple_of(3);
        match (self.wanted, self.is_registered) {
            // It overtakes the claim.
            (Some(_), _) => {}
            (None, true) => self.is_registered = !is_last,
            (None, false) => return,
        }
        self.opened.extend(tasks.iter().map(ClaimedTask::task));
        self.handle(SchedulerEvent::DeliveryAnnounced);
        self.handle(SchedulerEvent::Delivered { tasks, is_last });
    }

    /// The store answers a claim, and some of the tasks come without their arguments.
    fn claim(&mut self, at: usize) {
        let Some(wanted) = self.wanted.take() else { return };
        let count = if wanted == 0 { 0 } else { at % (wanted + 1) };
        let unread = at.is_multiple_of(5).then(UnreadArgs::default);
        let task = || assignment(TaskId::random(), 1, (at % 4) as u32);
        let claimed: Vec<_> = (0..count).map(|_| ClaimedTask { unread, ..task() }).collect();
        self.opened.extend(claimed.iter().map(ClaimedTask::task));
        self.is_registered = count < wanted;
        self.handle(SchedulerEvent::Claimed(claimed));
    }

    fn step(&mut self, what: u8, at: usize) {
        match what % 13 {
            12 => self.read_args(at),
            0 if self.windows.len() < 4 => {
                let (id, window) = (WorkerId::random(), at % 4);
                self.windows.insert(id, window);
                self.handle(SchedulerEvent::WorkerJoined(WorkerCapacity {
                    id,
                    classes: vec![class()],
                    slots: window,
                    window,
                }));
            }
            1 if at.is_multiple_of(4) => {
                let Some(worker) = self.windows.keys().next().copied() else { return };
                self.windows.remove(&worker);
                self.running.retain(|_, on| *on != worker);
                // What is read for it comes too late.
                self.reading.retain(|_, (on, _)| *on != worker);
                self.handle(SchedulerEvent::WorkerLeft { worker, reason: "gone".to_owned() });
            }
            2 | 3 => self.claim(at),
            4 | 5 => {
                let Some((task, worker)) = self.pick(at) else { return };
                self.running.remove(&task);
                let report = if what == 4 { completed(task) } else { died(task) };
                self.handle(SchedulerEvent::Reported { worker, reports: vec![report] });
            }
            6 => {
                let Some((task, worker)) = self.pick(at) else { return };
                self.running.remove(&task);
                let tasks = vec![task];
                self.handle(SchedulerEvent::Returned { worker, tasks });
            }
            7 => {
                let settled = std::mem::take(&mut self.settling);
                self.handle(SchedulerEvent::Recorded(settled));
            }
            10 => self.deliver(at),
            8 => self.pass_time(at),
            11 => {
                let Some(worker) = self.windows.keys().next().copied() else { return };
                let window = at % 4;
                self.windows.insert(worker, window);
                self.handle(SchedulerEvent::WindowChanged { worker, window });
            }
            _ => {
                if std::mem::take(&mut self.reconciling) {
                    self.handle(SchedulerEvent::Leased(Vec::new()));
                } else if let Some((task, _)) = self.pick(at) {
                    self.handle(SchedulerEvent::CancelRequested(task.task_id));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_opened_attempt_ends_exactly_once(steps in prop::collection::vec((any::<u8>(), any::<u16>()), 0..300)) {
        let mut world = World::new();
        for (what, at) in steps {
            world.step(what, at as usize);
            world.check_gets_new_work();
        }
        // Then everything ends: the workers leave, the store answers.
        world.handle(SchedulerEvent::DrainStarted);
        for worker in std::mem::take(&mut world.windows).into_keys() {
            world.handle(SchedulerEvent::WorkerLeft { worker, reason: "the end".to_owned() });
        }
        while world.wanted.is_some() || world.reconciling {
            if world.wanted.take().is_some() {
                world.handle(SchedulerEvent::Claimed(Vec::new()));
            }
            if std::mem::take(&mut world.reconciling) {
                world.handle(SchedulerEvent::Leased(Vec::new()));
            }
        }
        let settled = std::mem::take(&mut world.settling);
        world.handle(SchedulerEvent::Recorded(settled));
        prop_assert_eq!(&world.opened, &world.ended);
        prop_assert!(world.scheduler.is_idle());
    }
}
