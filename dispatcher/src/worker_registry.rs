//! The workers, and the choice among them in constant time.
//!
//! Workers that serve the same classes form a group. In each group they are sorted by the number of
//! calls they can still take, with those that have an idle slot first, so that the least loaded is found
//! without looking at the others. A function goes to the worker where it went before, which has its code
//! and what it imports, unless another worker has an idle slot where that one has none, or room for more
//! than one call more.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use belljar_core::id::WorkerId;
use belljar_core::labels::Labels;
use belljar_core::task::{CodeHash, TaskClass};
use belljar_store::record::Demand;

use crate::event::WorkerCapacity;
use crate::worker_room::{Room, Worker, window_of};

/// For how many functions the last worker is remembered.
const REMEMBERED_FUNCTIONS: usize = 10_000;
/// Of the places behind running calls, this part is free before more is claimed for them alone: a claim costs the store as
/// much as several tasks do, and what waits at the worker bridges the way.
const CLAIMED_PART: usize = 4;

/// The workers of one dispatcher.
#[derive(Debug, Default)]
pub(crate) struct WorkerRegistry {
    workers: HashMap<WorkerId, Worker>,
    groups: Vec<Group>,
    /// The worker that each function went to last. It may have left.
    last: HashMap<CodeHash, WorkerId>,
    /// How many idle slots of each group only go to tenants of which nothing runs.
    reserved: usize,
    /// The labels that functions ask for.
    labels: Vec<Labels>,
    /// Whether tenants compete for the slots.
    is_shared: bool,
}

#[derive(Debug)]
struct Group {
    /// What its workers announce, with all their labels.
    classes: Vec<TaskClass>,
    /// The classes of tasks that they run. Those with labels come first: others may not run them.
    demanded: Vec<TaskClass>,
    /// The workers with room, sorted by it.
    by_room: BTreeMap<Room, Vec<WorkerId>>,
    free: usize,
    idle: usize,
}

impl Group {
    fn serves(&self, class: TaskClass) -> bool {
        self.classes.iter().any(|own| own.serves(&class))
    }
}

/// The classes of tasks that workers of these classes run, where functions ask for `labels` or for none.
fn demanded(classes: &[TaskClass], labels: &[Labels]) -> Vec<TaskClass> {
    let asked = |class: &TaskClass| {
        let (class, fitting) = (*class, labels.iter().filter(|asked| class.labels.contain(asked)));
        fitting.map(move |asked| TaskClass { labels: *asked, ..class }).collect::<Vec<_>>()
    };
    let plain = classes.iter().map(|class| TaskClass { labels: Labels::NONE, ..*class });
    classes.iter().flat_map(asked).chain(plain).collect()
}

impl WorkerRegistry {
    /// No worker yet; in each group this many idle slots only go to tenants of which nothing runs.
    pub(crate) fn new(reserved: usize) -> Self {
        Self { reserved, ..Self::default() }
    }

    /// Adds a worker. One that is known already may have other classes now; its calls go on.
    pub(crate) fn join(&mut self, worker: &WorkerCapacity) {
        self.exit(worker.id);
        let running = self.workers.get(&worker.id).map_or(0, |known| known.running);
        let mut classes = worker.classes.clone();
        classes.sort_unstable();
        let group = self.groups.iter().position(|group| group.classes == classes);
        let group = group.unwrap_or_else(|| {
            let demanded = demanded(&classes, &self.labels);
            self.groups.push(Group {
                classes,
                demanded,
                by_room: BTreeMap::new(),
                free: 0,
                idle: 0,
            });
            self.groups.len() - 1
        });
        let WorkerCapacity { slots, window: wanted, .. } = *worker;
        let window = window_of(slots, wanted, self.is_shared);
        let known = Worker { group, slots, wanted, window, running, position: 0 };
        self.workers.insert(worker.id, known);
        self.enter(worker.id);
    }

    /// Functions ask for these labels now.
    pub(crate) fn set_labels(&mut self, labels: Vec<Labels>) {
        for group in &mut self.groups {
            group.demanded = demanded(&group.classes, &labels);
        }
        self.labels = labels;
    }

    /// Removes a worker.
    pub(crate) fn leave(&mut self, id: WorkerId) {
        self.exit(id);
        self.workers.remove(&id);
    }

    /// Changes how many calls a worker takes. Compares its room with the room before.
    pub(crate) fn resize(&mut self, id: WorkerId, window: usize) -> Ordering {
        let is_shared = self.is_shared;
        self.change(id, |worker| {
            worker.wanted = window;
            worker.window = window_of(worker.slots, window, is_shared);
        })
    }

    /// Whether tenants compete for the slots. Returns whether that was not known.
    pub(crate) fn share(&mut self, is_shared: bool) -> bool {
        if self.is_shared == is_shared {
            return false;
        }
        self.is_shared = is_shared;
        let workers: Vec<_> = self.workers.iter().map(|(id, it)| (*id, it.wanted)).collect();
        for (id, wanted) in workers {
            let _ = self.resize(id, wanted);
        }
        true
    }

    /// A worker has ended or given back one call. Returns whether it has room for one more now.
    pub(crate) fn release(&mut self, id: WorkerId) -> bool {
        let change = |worker: &mut Worker| worker.running = worker.running.saturating_sub(1);
        self.change(id, change) == Ordering::Greater
    }

    /// Assigns a call of the function `code` to a worker that serves `class`: the last one that ran the
    /// function, or the least loaded. `None` if every worker is full or none serves the class.
    pub(crate) fn assign(&mut self, class: TaskClass, code: CodeHash) -> Option<WorkerId> {
        let fitting = self.groups.iter().filter(|group| group.serves(class));
        let (most, bucket) = fitting
            .filter_map(|group| group.by_room.last_key_value())
            .max_by_key(|(room, _)| **room)?;
        let last = self.last.get(&code).copied();
        let last = last.filter(|last| {
            let room = self.room(*last, class);
            let is_as_idle = room.has_idle_slot == most.has_idle_slot;
            is_as_idle && room.free > 0 && room.free + 1 >= most.free
        });
        let id = last.or_else(|| bucket.last().copied())?;
        if self.last.len() >= REMEMBERED_FUNCTIONS {
            self.last.clear();
        }
        self.last.insert(code, id);
        let _ = self.change(id, |worker| worker.running += 1);
        Some(id)
    }

    /// How many calls of `class` a worker can still take.
    fn room(&self, id: WorkerId, class: TaskClass) -> Room {
        let known = self.workers.get(&id);
        let fitting = known.filter(|it| self.groups[it.group].serves(class));
        fitting.map_or_else(Room::default, Worker::room)
    }

    /// How many calls could be assigned now, by class.
    pub(crate) fn demand(&self) -> Vec<Demand> {
        let free = self.groups.iter().filter(|group| group.free > 0);
        let demand = |group: &Group| Demand {
            classes: group.demanded.clone(),
            count: group.free,
            // What is not reserved are idle slots: behind a running call, a place is worth nothing.
            reserved: match self.reserved {
                0 => 0,
                reserved => group.free - group.idle.saturating_sub(reserved),
            },
        };
        free.map(demand).collect()
    }

    /// Whether a claim is worth its cost now: a slot is idle, or a worker has begun enough of what waited there.
    pub(crate) fn is_worth_a_claim(&self) -> bool {
        let most = self.groups.iter().filter_map(|group| group.by_room.last_key_value());
        most.filter_map(|(_, ids)| ids.last().and_then(|id| self.workers.get(id)))
            .any(|worker| worker.idle() > 0 || worker.free() * CLAIMED_PART >= worker.ahead())
    }

    /// Changes a worker. Compares its room with the room before.
    fn change(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) -> Ordering {
        self.exit(id);
        let compared = self.workers.get_mut(&id).map_or(Ordering::Equal, |worker| {
            let before = worker.free();
            change(worker);
            worker.free().cmp(&before)
        });
        self.enter(id);
        compared
    }

    fn enter(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let room = worker.room();
        if room.free == 0 {
            return;
        }
        let group = &mut self.groups[worker.group];
        let bucket = group.by_room.entry(room).or_default();
        worker.position = bucket.len();
        bucket.push(id);
        group.free += room.free;
        group.idle += worker.idle();
    }

    fn exit(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        let (room, position, idle) = (worker.room(), worker.position, worker.idle());
        if room.free == 0 {
            return;
        }
        let group = &mut self.groups[worker.group];
        group.free -= room.free;
        group.idle -= idle;
        let Some(bucket) = group.by_room.get_mut(&room) else { return };
        bucket.swap_remove(position);
        let moved = bucket.get(position).copied();
        if bucket.is_empty() {
            group.by_room.remove(&room);
        }
        if let Some(moved) = moved.and_then(|id| self.workers.get_mut(&id)) {
            moved.position = position;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class(text: &str) -> TaskClass {
        text.parse().expect("a class")
    }

    fn code(number: u8) -> CodeHash {
        CodeHash::of(&[number])
    }

    fn worker(classes: &[&str], window: usize) -> WorkerCapacity {
        let classes = classes.iter().map(|text| class(text)).collect();
        WorkerCapacity { id: WorkerId::random(), classes, slots: window, window }
    }

    #[test]
    fn the_least_loaded_fitting_worker_is_chosen() {
        let mut registry = WorkerRegistry::default();
        let (small, large) = (worker(&["native:3.11"], 1), worker(&["native:3.11"], 3));
        let sandbox = worker(&["sandbox:3.11"], 9);
        for new in [&small, &large, &sandbox] {
            registry.join(new);
        }
        let native = class("native:3.11");
        let chosen: Vec<_> = (0..5).map(|n| registry.assign(native, code(n))).collect();
        assert_eq!(chosen.iter().filter(|id| **id == Some(large.id)).count(), 3);
        assert_eq!(chosen.iter().filter(|id| **id == Some(small.id)).count(), 1);
        assert_eq!(chosen[4], None);
        registry.release(small.id);
        assert_eq!(registry.assign(native, code(6)), Some(small.id));
    }

    #[test]
    fn a_function_stays_at_its_worker_while_there_is_room() {
        let mut registry = WorkerRegistry::default();
        let native = class("native:3.11");
        let (first, second) = (worker(&["native:3.11"], 4), worker(&["native:3.11"], 4));
        registry.join(&first);
        registry.join(&second);
        let home = registry.assign(native, code(1));
        // Three places against four: still at home. Two against four: elsewhere.
        assert_eq!(registry.assign(native, code(1)), home);
        let away = registry.assign(native, code(1));
        assert!(away.is_some() && away != home);
        // And there from now on.
        assert_eq!(registry.assign(native, code(1)), away);
        registry.leave(away.expect("assigned"));
        assert_eq!(registry.assign(native, code(1)), home, "who has left is forgotten");
    }

    #[test]
    fn an_idle_slot_is_preferred() {
        let mut registry = WorkerRegistry::default();
        let native = class("native:3.11");
        let (first, second) = (worker(&["native:3.11"], 1), worker(&["native:3.11"], 1));
        registry.join(&first);
        let home = registry.assign(native, code(1));
        // Its call is about to end, so that it takes one more.
        assert_eq!(registry.resize(first.id, 2), Ordering::Greater);
        registry.join(&second);
        assert_eq!(registry.assign(native, code(1)), Some(second.id));
        assert_eq!(registry.assign(native, code(1)), home);
    }

    #[test]
    fn room_is_compared_with_the_room_before() {
        let mut registry = WorkerRegistry::default();
        let one = worker(&["native:3.11"], 1);
        registry.join(&one);
        registry.assign(class("native:3.11"), code(1));
        assert_eq!(registry.resize(one.id, 2), Ordering::Greater);
        registry.assign(class("native:3.11"), code(1));
        assert_eq!(registry.resize(one.id, 1), Ordering::Equal);
        assert!(!registry.release(one.id), "it has one call still, which is all it takes");
        assert!(registry.release(one.id));
        assert_eq!(registry.resize(one.id, 0), Ordering::Less);
    }

    #[test]
    fn idle_slots_are_reserved_and_places_behind_running_calls_too() {
        let native = class("native:3.11");
        let demand = |reserved| {
            let mut registry = WorkerRegistry::new(reserved);
            let one = worker(&["native:3.11"], 4);
            registry.join(&one);
            assert!(registry.assign(native, code(1)).is_some());
            // Its calls are short: it takes two more than it has slots.
            assert_eq!(registry.resize(one.id, 6), Ordering::Greater);
            let demand = registry.demand().remove(0);
            (demand.count, demand.reserved)
        };
        assert_eq!([0, 1, 3, 9].map(demand), [(5, 0), (5, 3), (5, 5), (5, 5)]);
    }

    #[test]
    fn places_behind_running_calls_are_claimed_for_together() {
        let native = class("native:3.11");
        let mut registry = WorkerRegistry::default();
        assert!(!registry.is_worth_a_claim(), "there is nobody");
        let one = worker(&["native:3.11"], 2);
        registry.join(&one);
        let assign = |registry: &mut WorkerRegistry| {
            assert!(registry.is_worth_a_claim(), "a slot is idle");
            assert!(registry.assign(native, code(1)).is_some());
        };
        assign(&mut registry);
        assign(&mut registry);
        assert!(!registry.is_worth_a_claim(), "it is full");
        // A call is about to end.
        assert_eq!(registry.resize(one.id, 3), Ordering::Greater);
        assert!(registry.is_worth_a_claim());
        // Short calls: ten for each slot.
        assert_eq!(registry.resize(one.id, 22), Ordering::Greater);
        while registry.assign(native, code(1)).is_some() {}
        for _ in 0..4 {
            registry.release(one.id);
            assert!(!registry.is_worth_a_claim());
        }
        registry.release(one.id);
        assert!(registry.is_worth_a_claim());
    }

    #[test]
    fn demand_is_the_room_by_class() {
        let mut registry = WorkerRegistry::default();
        let both = worker(&["sandbox:3.11", "native:3.11"], 2);
        registry.join(&both);
        registry.join(&worker(&["native:3.11"], 4));
        registry.assign(class("sandbox:3.11"), code(1));
        let mut counts: Vec<_> =
            registry.demand().iter().map(|w| (w.classes.len(), w.count)).collect();
        counts.sort_unstable();
        assert_eq!(counts, [(1, 4), (2, 1)]);
        registry.leave(both.id);
        assert_eq!(registry.demand().len(), 1);
    }

    #[test]
    fn a_worker_demands_tasks_that_ask_for_its_labels_and_for_none() {
        let mut registry = WorkerRegistry::default();
        let labels = |text: &str| text.parse::<Labels>().expect("labels");
        let (plain, gpu) =
            (worker(&["native:3.11"], 1), worker(&["native:3.11/gpu=a100,region=eu"], 2));
        registry.join(&plain);
        registry.join(&gpu);
        let demanded = |registry: &WorkerRegistry| {
            let mut demand = registry.demand();
            demand.sort_by_key(|demand| demand.count);
            let text = |demand: &Demand| {
                demand.classes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            };
            demand.iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(demanded(&registry), ["native:3.11", "native:3.11"], "nobody asks for labels");
        registry.set_labels(vec![
            labels("gpu=a100"),
            labels("gpu=h100"),
            labels("gpu=a100,region=eu"),
        ]);
        let all = "native:3.11/gpu=a100 native:3.11/gpu=a100,region=eu native:3.11";
        assert_eq!(demanded(&registry), ["native:3.11", all]);
        let (asks, other) = (class("native:3.11/gpu=a100"), class("native:3.11/gpu=h100"));
        assert_eq!(registry.assign(asks, code(1)), Some(gpu.id));
        assert_eq!(registry.assign(asks, code(2)), Some(gpu.id));
        assert_eq!(registry.assign(asks, code(3)), None, "the other worker has no label");
        assert_eq!(registry.assign(other, code(4)), None);
        assert_eq!(registry.assign(class("native:3.11"), code(5)), Some(plain.id));
    }

    proptest! {
        #[test]
        fn room_is_never_miscounted(steps: Vec<(u8, u8, u8)>) {
            let mut registry = WorkerRegistry::default();
            let ids: Vec<_> = (0..4).map(|_| worker(&["native:3.11"], 0).id).collect();
            let mut model: HashMap<WorkerId, (usize, usize)> = HashMap::new();
            for (what, who, size) in steps {
                let id = ids[who as usize % ids.len()];
                let window = size as usize % 5;
                match what % 5 {
                    0 if !model.contains_key(&id) => {
                        let classes = vec![class("native:3.11")];
                        registry.join(&WorkerCapacity { id, classes, slots: 2, window });
                        model.insert(id, (window, 0));
                    }
                    1 => { registry.leave(id); model.remove(&id); }
                    2 => { let _ = registry.resize(id, window); if let Some(w) = model.get_mut(&id) { w.0 = window; } }
                    3 => { registry.release(id); if let Some(w) = model.get_mut(&id) { w.1 = w.1.saturating_sub(1); } }
                    _ => {
                        let room = |w: &(usize, usize)| {
                            let free = w.0.saturating_sub(w.1);
                            Room { has_idle_slot: w.1 < 2 && free > 0, free }
                        };
                        let most = model.values().map(room).max().unwrap_or_default();
                        match registry.assign(class("native:3.11"), code(size % 3)) {
                            Some(chosen) => {
                                let w = model.get_mut(&chosen).expect("a known worker");
                                let room = room(w);
                                prop_assert!(room.free > 0 && room.free + 1 >= most.free);
                                prop_assert_eq!(room.has_idle_slot, most.has_idle_slot);
                                w.1 += 1;
                            }
                            None => prop_assert_eq!(most.free, 0),
                        }
                    }
                }
                let free: usize = model.values().map(|w| w.0.saturating_sub(w.1)).sum();
                let counted: usize = registry.demand().iter().map(|want| want.count).sum();
                prop_assert_eq!(counted, free);
            }
        }
    }
}
