//! Seeded sequences of submissions, claims, ends, returns and cancels of tenants with weights, against the rules: the tenant
//! with the smallest share of what runs goes first, within a tenant the higher priority, then who came first; and no tenant runs
//! more than it may.

use std::collections::{BTreeMap, HashMap};

use belljar_core::id::{DispatcherId, TaskId};
use belljar_core::task::{Priority, TaskAttempt};
use belljar_core::tenant::{Tenant, Weight};
use belljar_store::Store;
use belljar_store::record::{CancelOutcome, ClaimedTask, StoreQuotas};

use crate::harness::{
    Dice, NOBODY, Redis, audit, completed, demand, died, tasks, tenant, unstarted, with_priority,
};

/// What a turn of a tenant of weight 1 adds to its virtual time, and a running task to its score.
const TURN_COST: f64 = 1e5;
const RUNNING_COST: f64 = 1e11;
/// What the number of running tasks of a tenant with a bound has beside it.
const BOUND: u64 = 1_000_000_000_000;

#[derive(Default)]
struct Modelled {
    weight: u32,
    /// How many of its tasks may run, where that is bound; the store learns it with submissions.
    most: Option<usize>,
    /// Those that wait, by priority (requeued ones before all) and sequence.
    waiting: BTreeMap<(u64, u64), TaskId>,
    running: Vec<(TaskAttempt, bool)>,
}

impl Modelled {
    fn share(&self) -> f64 {
        self.running.len() as f64 / f64::from(self.weight)
    }

    /// How many more of its tasks may run now.
    fn may_run(&self) -> usize {
        let room = self.most.map_or(usize::MAX, |most| most.saturating_sub(self.running.len()));
        room.min(self.waiting.len())
    }
}

struct Model<'a> {
    store: &'a Store,
    redis: &'a Redis,
    dice: Dice,
    dispatcher: DispatcherId,
    tenants: BTreeMap<Tenant, Modelled>,
    owners: HashMap<TaskId, Tenant>,
    sequence: u64,
    /// Whether a tenant may run only so many tasks.
    bounds: bool,
}

impl Model<'_> {
    fn pick(&mut self) -> Tenant {
        let at = self.dice.roll(self.tenants.len());
        self.tenants.keys().nth(at).expect("one of them").clone()
    }

    async fn step(&mut self) {
        match self.dice.roll(20) {
            0..=4 => {
                let name = self.pick();
                self.submit(name).await;
            }
            5..=10 => self.claim().await,
            11..=14 => self.end().await,
            15..=16 => self.requeue().await,
            17..=18 => self.cancel().await,
            _ => self.reweigh().await,
        }
    }

    async fn submit(&mut self, name: Tenant) {
        let new: Vec<_> = (0..=self.dice.roll(8))
            .map(|_| with_priority(Priority::ALL[self.dice.roll(3)]))
            .collect();
        let tenant = self.tenants.get_mut(&name).expect("known");
        for task in &new {
            self.sequence += 1;
            let priority = match task.spec.priority {
                Priority::High => 1,
                Priority::Normal => 2,
                Priority::Low => 3,
            };
            tenant.waiting.insert((priority, self.sequence), task.id);
            self.owners.insert(task.id, name.clone());
        }
        let weight = Weight::try_from(tenant.weight).expect("a weight");
        let running_tasks = tenant.most.map(|most| most as u64);
        let quotas = running_tasks.map(|_| StoreQuotas { running_tasks, ..StoreQuotas::default() });
        let view = self.store.of(&name).with_weight(weight).with_quotas(quotas);
        view.submit(new).await.expect("accepted");
    }

    /// The next submission tells the weight.
    async fn reweigh(&mut self) {
        let name = self.pick();
        let weight = u32::try_from(1 + self.dice.roll(5)).expect("a small number");
        // Of one tenant, so that the others' turns are compared with it and without it.
        let most = (self.bounds && name.as_str() == "b").then(|| self.dice.roll(6));
        let tenant = self.tenants.get_mut(&name).expect("known");
        (tenant.weight, tenant.most) = (weight, most.filter(|_| weight > 1));
        self.submit(name).await;
    }

    async fn claim(&mut self) {
        let count = 1 + self.dice.roll(12);
        let waiting: usize = self.tenants.values().map(Modelled::may_run).sum();
        let claimed = self.store.claim(self.dispatcher, &demand(count)).await.expect("claimed");
        assert_eq!(claimed.len(), count.min(waiting), "no slot is left idle while a task waits");
        for task in claimed {
            self.check_turn(&task);
        }
    }

    fn check_turn(&mut self, task: &ClaimedTask) {
        let name = &self.owners[&task.id()];
        let share = self.tenants[name].share();
        for (other, rival) in &self.tenants {
            let waits = rival.may_run() > 0;
            assert!(!waits || share <= rival.share() + 1e-9, "{other} goes before {name}");
        }
        assert!(self.tenants[name].may_run() > 0, "{name} runs more than it may");
        let tenant = self.tenants.get_mut(name).expect("known");
        let (_, first) = tenant.waiting.pop_first().expect("it waits");
        assert_eq!(first, task.id(), "the order within {name}");
        tenant.running.push((task.task(), false));
    }

    /// Some task that runs, and whether it was cancelled.
    fn take_running(&mut self) -> Option<(Tenant, TaskAttempt, bool)> {
        let name = self.pick();
        let tenant = self.tenants.get_mut(&name).expect("known");
        if tenant.running.is_empty() {
            return None;
        }
        let at = self.dice.roll(tenant.running.len());
        let (task, cancelled) = tenant.running.swap_remove(at);
        Some((name, task, cancelled))
    }

    async fn end(&mut self) {
        let Some((_, task, _)) = self.take_running() else { return };
        self.store.complete(NOBODY, 0, &[completed(task, b"v")]).await.expect("answered");
    }

    async fn requeue(&mut self) {
        let Some((name, task, cancelled)) = self.take_running() else { return };
        self.sequence += 1;
        if !cancelled {
            let tenant = self.tenants.get_mut(&name).expect("known");
            tenant.waiting.insert((0, self.sequence), task.task_id);
        }
        let back = if self.dice.roll(2) == 0 { unstarted(task) } else { died(task, "it died") };
        self.store.requeue(&[back]).await.expect("answered");
    }

    async fn cancel(&mut self) {
        let name = self.pick();
        let tenant = self.tenants.get_mut(&name).expect("known");
        let (id, expected) = if self.dice.roll(3) == 0 && !tenant.running.is_empty() {
            let at = self.dice.roll(tenant.running.len());
            tenant.running[at].1 = true;
            (tenant.running[at].0.task_id, CancelOutcome::Stopping)
        } else if tenant.waiting.is_empty() {
            return;
        } else {
            let at = self.dice.roll(tenant.waiting.len());
            let place = *tenant.waiting.keys().nth(at).expect("one of them");
            let id = tenant.waiting.remove(&place).expect("it waits");
            (id, CancelOutcome::Cancelled)
        };
        assert_eq!(self.store.cancel(id).await.expect("answered"), Some(expected));
    }

    /// The store counts what runs as the model does, and no score drifts.
    async fn compare(&self) {
        audit(self.store).await;
        let running: HashMap<String, u64> =
            self.redis.command(&["HGETALL", "{belljar}:running"]).await;
        let turns: Vec<(String, f64)> = self
            .redis
            .command(&["ZRANGE", "{belljar}:turns:native:3.11", "0", "-1", "WITHSCORES"])
            .await;
        let now: Option<f64> =
            self.redis.command(&["HGET", "{belljar}:virtual_times", "native:3.11"]).await;
        for (name, tenant) in &self.tenants {
            let queue = match name.mark() {
                "" => "native:3.11".to_owned(),
                mark => format!("native:3.11@{mark}"),
            };
            let counted = running.get(&queue).copied().unwrap_or(0) % BOUND;
            assert_eq!(counted, tenant.running.len() as u64, "{queue}");
            let turn = turns.iter().find(|(waiting, _)| *waiting == queue);
            assert!(turn.is_some() || tenant.may_run() == 0, "{queue} waits for no turn");
            let Some((_, score)) = turn.filter(|_| turns.len() > 1) else { continue };
            let cost = |cost: f64| (cost / f64::from(tenant.weight)).floor();
            let virtual_time = score - cost(RUNNING_COST) * tenant.running.len() as f64;
            let latest = now.unwrap_or(0.0) + cost(TURN_COST);
            assert!((0.0..=latest).contains(&virtual_time), "{queue}: {virtual_time} of {latest}");
        }
    }
}

async fn run(seed: u64, bounds: bool) {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let tenants = ["default", "a", "acme", "b", "c"].map(tenant).into_iter();
    let mut model = Model {
        store: &store,
        redis: &redis,
        dice: Dice(seed),
        dispatcher: DispatcherId::random(),
        tenants: tenants
            .zip(1..)
            .map(|(n, weight)| (n, Modelled { weight, ..Modelled::default() }))
            .collect(),
        owners: HashMap::new(),
        sequence: 0,
        bounds,
    };
    for _ in 0..1500 {
        model.step().await;
        model.compare().await;
    }
}

#[tokio::test]
async fn every_turn_is_the_right_one_seed_1() {
    run(0x9e37_79b9_7f4a_7c15, false).await;
}

#[tokio::test]
async fn every_turn_is_the_right_one_seed_2() {
    run(0xd1b5_4a32_d192_ed03, false).await;
}

#[tokio::test]
async fn every_turn_is_the_right_one_seed_3() {
    run(0x2545_f491_4f6c_dd1d, true).await;
}

#[tokio::test]
async fn every_turn_is_the_right_one_seed_4() {
    run(0x1234_5678_9abc_def1, true).await;
}

/// Claims one task after the other, each ended before the next. Returns how many each tenant had.
async fn served(store: &Store, of: &HashMap<TaskId, usize>, turns: usize) -> Vec<usize> {
    let mut counts = vec![0; 3];
    for _ in 0..turns {
        let claimed = store.claim(DispatcherId::random(), &demand(1)).await.expect("claimed");
        counts[of[&claimed[0].id()]] += 1;
        let end = completed(claimed[0].task(), b"v");
        store.complete(NOBODY, 0, &[end]).await.expect("answered");
    }
    counts
}

#[tokio::test]
async fn turns_are_shared_by_weight() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let mut of = HashMap::new();
    for (at, (name, weight)) in [("default", 1), ("a", 2), ("b", 5)].into_iter().enumerate() {
        let (name, weight) = (tenant(name), Weight::try_from(weight).expect("a weight"));
        let ids = store.of(&name).with_weight(weight).submit(tasks(500)).await.expect("accepted");
        of.extend(ids.into_iter().map(|id| (id, at)));
    }
    for _ in 0..10 {
        let counts = served(&store, &of, 40).await;
        for (count, expected) in counts.iter().zip([5, 10, 25]) {
            assert!(count.abs_diff(expected) <= 1, "{counts:?}");
        }
    }
}

#[tokio::test]
async fn slots_of_long_calls_are_shared_by_weight() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let (light, heavy) = (tenant("light"), tenant("heavy"));
    let three = Weight::try_from(3).expect("a weight");
    let dispatcher = DispatcherId::random();
    let first = store.of(&light).submit(tasks(100)).await.expect("accepted");
    // Alone it has all eight slots.
    let mut running = store.claim(dispatcher, &demand(8)).await.expect("claimed");
    assert_eq!(running.len(), 8);
    store.of(&heavy).with_weight(three).submit(tasks(100)).await.expect("accepted");
    let is_light = |task: &ClaimedTask| first.contains(&task.id());
    let mut lights = Vec::new();
    for _ in 0..40 {
        // The oldest call ends; who gets its slot?
        let end = completed(running.remove(0).task(), b"v");
        store.complete(NOBODY, 0, &[end]).await.expect("answered");
        running.extend(store.claim(dispatcher, &demand(1)).await.expect("claimed"));
        lights.push(running.iter().filter(|task| is_light(task)).count());
    }
    assert_eq!(lights[..6], [7, 6, 5, 4, 3, 2], "each slot that becomes free goes to the other");
    assert!(lights[6..].iter().all(|light| (2..=3).contains(light)), "{lights:?}");
}

#[tokio::test]
async fn a_weight_changes_while_tasks_wait() {
    let redis = Redis::start().await;
    let store = redis.store().await;
    let names = ["default", "a", "b"].map(tenant);
    let mut of = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        let ids = store.of(name).submit(tasks(300)).await.expect("accepted");
        of.extend(ids.into_iter().map(|id| (id, at)));
    }
    assert_eq!(served(&store, &of, 30).await, [10, 10, 10]);
    let eight = Weight::try_from(8).expect("a weight");
    let more = store.of(&names[2]).with_weight(eight).submit(tasks(1)).await.expect("accepted");
    of.insert(more[0], 2);
    let counts = served(&store, &of, 100).await;
    assert!(
        counts.iter().zip([10, 10, 80]).all(|(count, of)| count.abs_diff(of) <= 2),
        "{counts:?}"
    );
}
