//! Seeded sequences of everything at once, against a model: whatever happens, every accepted task is in
//! exactly one place, and the store says what the model says.

use std::collections::HashMap;

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::task::{Attempt, Priority, TaskAttempt, TaskStatus};
use belljar_store::Store;
use belljar_store::record::{CancelOutcome, NewTask, Settled};

use crate::harness::{
    Dice, NOBODY, Redis, audit, completed, demand, died, failed, native, tenant, unstarted,
    with_priority,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Modelled {
    status: TaskStatus,
    delayed: bool,
    attempt: u32,
    dispatcher: Option<DispatcherId>,
    cancelling: bool,
    /// Whether it ended by a word of its dispatcher on the current attempt.
    finished: bool,
}

struct Model<'a> {
    store: &'a Store,
    redis: &'a Redis,
    dice: Dice,
    tasks: HashMap<TaskId, Modelled>,
    order: Vec<TaskId>,
    dispatchers: Vec<DispatcherId>,
}

impl Model<'_> {
    async fn step(&mut self) {
        match self.dice.roll(20) {
            0..=4 => self.submit().await,
            5..=9 => self.claim().await,
            10..=13 => self.finish().await,
            14..=15 => self.requeue().await,
            16..=17 => self.cancel().await,
            18 => self.replace_dispatcher(false).await,
            _ => self.replace_dispatcher(true).await,
        }
    }

    async fn submit(&mut self) {
        let new: Vec<_> = (0..=self.dice.roll(6))
            .map(|_| {
                let priority = Priority::ALL[self.dice.roll(3)];
                let delay_ms = if self.dice.roll(5) == 0 { 3_600_000 } else { 0 };
                NewTask { delay_ms, ..with_priority(priority) }
            })
            .collect();
        for task in &new {
            let delayed = task.delay_ms > 0;
            let status = TaskStatus::Queued;
            let modelled = Modelled {
                status,
                delayed,
                attempt: 0,
                dispatcher: None,
                cancelling: false,
                finished: false,
            };
            self.tasks.insert(task.id, modelled);
            self.order.push(task.id);
        }
        let tenant = tenant(["default", "acme", "a"][self.dice.roll(3)]);
        self.store.of(&tenant).submit(new).await.expect("accepted");
    }

    async fn claim(&mut self) {
        let at = self.dice.roll(self.dispatchers.len());
        let dispatcher = self.dispatchers[at];
        let count = self.dice.roll(8);
        let waiting =
            self.tasks.values().filter(|t| t.status == TaskStatus::Queued && !t.delayed).count();
        let claimed = self.store.claim(dispatcher, &demand(count)).await.expect("claimed");
        assert_eq!(claimed.len(), count.min(waiting));
        for task in claimed {
            let modelled = self.tasks.get_mut(&task.id()).expect("it was submitted");
            assert_eq!((modelled.status, modelled.delayed), (TaskStatus::Queued, false));
            modelled.status = TaskStatus::Running;
            modelled.attempt += 1;
            modelled.dispatcher = Some(dispatcher);
            assert_eq!(task.task().attempt, Attempt(modelled.attempt));
        }
    }

    /// Some task, and an attempt of it that is often the current one.
    fn pick(&mut self) -> Option<TaskAttempt> {
        if self.order.is_empty() {
            return None;
        }
        let running: Vec<_> = self
            .order
            .iter()
            .filter(|id| self.tasks[*id].status == TaskStatus::Running)
            .copied()
            .collect();
        let pool =
            if running.is_empty() || self.dice.roll(4) == 0 { &self.order } else { &running };
        let id = pool[self.dice.roll(pool.len())];
        let attempt = self.tasks[&id].attempt;
        let off = u32::from(self.dice.roll(6) == 0);
        let attempt = Attempt(attempt.saturating_sub(off).max(1));
        Some(TaskAttempt { task_id: id, attempt })
    }

    /// What the model answers to a word on an attempt, and what it makes of it.
    fn settle(&mut self, attempt: TaskAttempt, next: TaskStatus) -> Settled {
        let task = self.tasks.get_mut(&attempt.task_id).expect("it was submitted");
        if task.status != TaskStatus::Running || attempt.attempt != Attempt(task.attempt) {
            return Settled::Stale;
        }
        task.dispatcher = None;
        if task.cancelling {
            task.status = TaskStatus::Cancelled;
            return Settled::Cancelled;
        }
        task.status = next;
        Settled::Accepted
    }

    async fn finish(&mut self) {
        let Some(attempt @ TaskAttempt { task_id: id, .. }) = self.pick() else { return };
        let value =
            id.as_bytes().map(|byte| byte ^ u8::try_from(attempt.attempt.0).expect("few attempts"));
        let good = self.dice.roll(2) == 0;
        let next = if good { TaskStatus::Completed } else { TaskStatus::Failed };
        let before = self.tasks[&id];
        let end = if good { completed(attempt, &value) } else { failed(attempt, &id.to_string()) };
        let mut expected = self.settle(attempt, next);
        if before.finished && attempt.attempt == Attempt(before.attempt) {
            // Said before: the same words are answered as they were.
            expected = match before.status {
                TaskStatus::Cancelled => Settled::Cancelled,
                status if status == next => Settled::Accepted,
                _ => Settled::Stale,
            };
        }
        if expected != Settled::Stale {
            self.tasks.get_mut(&id).expect("it was submitted").finished = true;
        }
        assert_eq!(
            self.store.complete(NOBODY, 0, &[end]).await.expect("answered"),
            [expected],
            "{before:?}"
        );
    }

    async fn requeue(&mut self) {
        let Some(attempt) = self.pick() else { return };
        let back =
            if self.dice.roll(2) == 0 { unstarted(attempt) } else { died(attempt, "it died") };
        let expected = self.settle(attempt, TaskStatus::Queued);
        assert_eq!(self.store.requeue(&[back]).await.expect("answered"), [expected]);
    }

    async fn cancel(&mut self) {
        let Some(TaskAttempt { task_id: id, .. }) = self.pick() else { return };
        let task = self.tasks.get_mut(&id).expect("it was submitted");
        let expected = match task.status {
            TaskStatus::Queued => {
                task.status = TaskStatus::Cancelled;
                task.delayed = false;
                CancelOutcome::Cancelled
            }
            TaskStatus::Running => {
                task.cancelling = true;
                CancelOutcome::Stopping
            }
            ended => CancelOutcome::Ended(ended),
        };
        assert_eq!(self.store.cancel(id).await.expect("answered"), Some(expected));
    }

    /// A dispatcher vanishes or leaves, and a new one comes.
    async fn replace_dispatcher(&mut self, leaves: bool) {
        let at = self.dice.roll(self.dispatchers.len());
        let gone = std::mem::replace(&mut self.dispatchers[at], DispatcherId::random());
        for task in self.tasks.values_mut().filter(|task| task.dispatcher == Some(gone)) {
            task.dispatcher = None;
            task.status = if task.cancelling { TaskStatus::Cancelled } else { TaskStatus::Queued };
        }
        if leaves {
            self.store.retire(gone).await.expect("left");
        } else {
            let judge = DispatcherId::random();
            self.store.heartbeat(judge, &[native()], &[]).await.expect("a heartbeat");
            self.redis.age(gone, judge).await;
            self.store.heartbeat(judge, &[native()], &[]).await.expect("a heartbeat");
            self.store.retire(judge).await.expect("left");
        }
    }

    async fn compare(&self) {
        let counts = audit(self.store).await.counts;
        let count = |status| self.tasks.values().filter(|t| t.status == status).count() as u64;
        let delayed = self.tasks.values().filter(|task| task.delayed).count() as u64;
        assert_eq!(counts.accepted, self.tasks.len() as u64);
        assert_eq!(counts.delayed, delayed);
        assert_eq!(counts.queued, count(TaskStatus::Queued) - delayed);
        assert_eq!(counts.running, count(TaskStatus::Running));
        assert_eq!(counts.completed, count(TaskStatus::Completed));
        assert_eq!(counts.failed, count(TaskStatus::Failed));
        assert_eq!(counts.cancelled, count(TaskStatus::Cancelled));
        let results = self.store.results(&self.order).await.expect("read");
        for (id, result) in self.order.iter().zip(results) {
            assert_eq!(result.expect("known").status, self.tasks[id].status, "{id}");
        }
    }
}

async fn run(seed: u64) {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut model = Model {
        store: &store,
        redis: &redis,
        dice: Dice(seed),
        tasks: HashMap::new(),
        order: Vec::new(),
        dispatchers: (0..3).map(|_| DispatcherId::random()).collect(),
    };
    for step in 0..400 {
        model.step().await;
        audit(&store).await;
        if step % 40 == 39 {
            model.compare().await;
        }
    }
    for dispatcher in model.dispatchers.clone() {
        assert!(
            store
                .leased(dispatcher)
                .await
                .expect("read")
                .iter()
                .all(|leased| { model.tasks[&leased.task.task_id].dispatcher == Some(dispatcher) }),
            "seed {seed}"
        );
    }
}

#[tokio::test]
async fn every_task_is_in_one_place_seed_1() {
    run(0x9e37_79b9_7f4a_7c15).await;
}

#[tokio::test]
async fn every_task_is_in_one_place_seed_2() {
    run(0xd1b5_4a32_d192_ed03).await;
}

#[tokio::test]
async fn every_task_is_in_one_place_seed_3() {
    run(0x2545_f491_4f6c_dd1d).await;
}
