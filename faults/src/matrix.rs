//! All scenarios.

use crate::proxy::NetworkFault;
use crate::scenario::{
    Connection, DispatchMode, Fault, STAGES, Scenario, Stage, VALUE_STAGES, Victim,
};

/// Those of results in files.
const RESULT_STAGES: [Stage; 4] =
    [Stage::ResultUnnamed, Stage::ResultNamed, Stage::ResultWritten, Stage::ResultKeyed];

const CONNECTIONS: [Connection; 4] = [
    Connection::ClientGateway,
    Connection::GatewayRedis,
    Connection::DispatcherRedis,
    Connection::DispatcherWorker,
];
const NETWORK_FAULTS: [NetworkFault; 4] =
    [NetworkFault::Cut, NetworkFault::HalfOpen, NetworkFault::Slow, NetworkFault::Reset];

/// Every scenario: kills at stages of tasks, of values in a directory and in a bucket, broken networks, a failover of Redis, and in
/// pull and push restarts of all parts and workers that are drained.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let mut scenarios = kills();
    scenarios.extend(in_directory());
    scenarios.extend(in_bucket());
    for mode in [DispatchMode::Push, DispatchMode::Pull] {
        // Only the last connection is used in another way in pull.
        let connections =
            if mode == DispatchMode::Pull { &CONNECTIONS[3..] } else { &CONNECTIONS[..] };
        for connection in connections {
            scenarios.extend(
                NETWORK_FAULTS.map(|how| Scenario::new(mode, Fault::Network(*connection, how))),
            );
        }
    }
    scenarios.push(Scenario::new(DispatchMode::Push, Fault::Failover));
    for fault in [Fault::Rolling, Fault::Drain] {
        scenarios.extend(
            [DispatchMode::Push, DispatchMode::Pull].map(|mode| Scenario::new(mode, fault)),
        );
    }
    scenarios
}

/// Six victims at seven stages in pull and push, and the two that differ in local mode.
fn kills() -> Vec<Scenario> {
    use Victim::{Child, Dispatcher, Gateway, Redis, SandboxWorker, Worker};
    let victims = [
        (DispatchMode::Push, vec![Gateway, Dispatcher, Worker, SandboxWorker, Child, Redis]),
        (DispatchMode::Pull, vec![Gateway, Dispatcher, Worker, SandboxWorker, Child, Redis]),
        (DispatchMode::Local, vec![Dispatcher, Child]),
    ];
    let mut scenarios = Vec::new();
    for (mode, victims) in victims {
        for victim in victims {
            scenarios.extend(STAGES.map(|stage| Scenario::new(mode, Fault::Kill(victim, stage))));
        }
    }
    scenarios
}

/// The gateway and Redis at the stages of values, and those who have large results in files at the stages of these.
fn in_directory() -> Vec<Scenario> {
    let values = [Victim::Gateway, Victim::Redis].map(|victim| (victim, &VALUE_STAGES[..]));
    let mut scenarios = killed(Scenario::new, DispatchMode::Push, &values);
    let (push, local) = results();
    scenarios.extend(killed(Scenario::new, DispatchMode::Push, &push));
    scenarios.extend(killed(Scenario::new, DispatchMode::Local, &local));
    scenarios
}

/// The same in a bucket, which may be the victim or be away; and workers while they read and write there.
fn in_bucket() -> Vec<Scenario> {
    use Stage::{ArgsCome, ArgsComing, ArgsWritten, ResultSending};
    let by_worker = [ArgsComing, ArgsCome, ResultSending];
    let at_once = [ArgsWritten, ArgsComing, ResultSending];
    let named = [Stage::ResultNamed];
    let values = [Victim::Gateway, Victim::Redis, Victim::Bucket];
    let values = values.map(|victim| (victim, &VALUE_STAGES[..]));
    let make = Scenario::in_bucket;
    let mut scenarios = killed(make, DispatchMode::Push, &values);
    let (push, local) = results();
    scenarios.extend(killed(make, DispatchMode::Push, &push));
    scenarios.extend(killed(make, DispatchMode::Local, &local));
    let more = [
        (Victim::Gateway, &[ArgsWritten][..]),
        (Victim::Worker, &by_worker),
        (Victim::Bucket, &at_once),
        (Victim::Bucket, &RESULT_STAGES),
    ];
    scenarios.extend(killed(make, DispatchMode::Push, &more));
    let pulled = [(Victim::Worker, &by_worker[..]), (Victim::Worker, &named)];
    scenarios.extend(killed(make, DispatchMode::Pull, &pulled));
    let local = [(Victim::Dispatcher, &by_worker[..]), (Victim::Bucket, &by_worker)];
    scenarios.extend(killed(make, DispatchMode::Local, &local));
    for (mode, faults) in [
        (DispatchMode::Push, &NETWORK_FAULTS[..]),
        (DispatchMode::Pull, &NETWORK_FAULTS[..2]),
        (DispatchMode::Local, &NETWORK_FAULTS[..2]),
    ] {
        let away = |how: &NetworkFault| make(mode, Fault::Network(Connection::Bucket, *how));
        scenarios.extend(faults.iter().map(away));
    }
    scenarios
}

/// Victims and the stages at which they are killed.
type Kills = Vec<(Victim, &'static [Stage])>;

/// Who is killed at the stages of large results, in push and in local mode.
fn results() -> (Kills, Kills) {
    const BY_WORKER: &[Stage] = &[Stage::ResultUnnamed, Stage::ResultNamed];
    let push = vec![
        (Victim::Worker, BY_WORKER),
        (Victim::Dispatcher, &RESULT_STAGES),
        (Victim::Redis, &RESULT_STAGES),
    ];
    (push, vec![(Victim::Dispatcher, BY_WORKER)])
}

fn killed(
    make: fn(DispatchMode, Fault) -> Scenario,
    mode: DispatchMode,
    victims: &[(Victim, &[Stage])],
) -> Vec<Scenario> {
    let each = victims.iter().flat_map(|(victim, stages)| {
        stages.iter().map(|stage| make(mode, Fault::Kill(*victim, *stage)))
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_scenario_has_its_own_name() {
        let names: HashSet<_> = all().iter().map(Scenario::to_string).collect();
        let in_directory = 2 * 5 + 12;
        let in_bucket = 3 * 5 + 12 + (1 + 3 + 3 + 4) + (3 + 1) + (3 + 3) + (4 + 2 + 2);
        assert_eq!(names.len(), 2 * 6 * 7 + 2 * 7 + in_directory + in_bucket + 4 * 4 + 4 + 5);
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn patterns_choose_cells() {
        let count =
            |pattern| all().into_iter().filter(|scenario| scenario.matches(pattern)).count();
        assert_eq!(count("push/worker/sent"), 1);
        assert_eq!(count("push/worker"), 0);
        assert_eq!(count("push/worker/*"), 7 + 2 + 1 + 2 + 3);
        assert_eq!(count("*/sent"), 14);
        assert_eq!(count("pull/*-*/cut"), 1);
        assert_eq!(count("*/bucket/*"), 5 + 7 + 3 + 8);
        assert_eq!(count("*"), all().len());
    }
}
