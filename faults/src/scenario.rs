//! The matrix of scenarios: which fault, where, in which mode. A scenario's name joins the three by slashes:
//! `push/worker/sent`, `pull/gateway-redis/cut`.

use std::fmt;
use std::time::Duration;

use crate::proxy::NetworkFault;

/// How tasks reach executors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DispatchMode {
    /// The dispatcher has a pool of its own.
    Local,
    /// Workers fetch tasks.
    Pull,
    /// The dispatcher sends tasks to workers.
    Push,
}

/// The process that is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The gateway.
    Gateway,
    /// The dispatcher.
    Dispatcher,
    /// A worker that runs tasks natively.
    Worker,
    /// A worker that runs tasks in the sandbox.
    SandboxWorker,
    /// An interpreter of a worker.
    Child,
    /// Redis.
    Redis,
}

/// How far a task has come at that moment. Each stage is a fail point of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The gateway is about to store it.
    BeforeEnqueue,
    /// The gateway has stored it and not answered.
    Enqueued,
    /// The dispatcher has claimed it and not sent it.
    Leased,
    /// The worker has it and has not begun.
    Sent,
    /// Its code runs.
    Running,
    /// The worker has its result and has not sent it.
    Computed,
    /// The dispatcher has stored its result and not acknowledged it.
    Stored,
    /// The gateway has all of a value, which has no name yet.
    Uploaded,
    /// The value has its name, and its key is not written.
    UploadNamed,
    /// The key of the value is written, and the client has no answer.
    UploadKept,
    /// A task that is about to be stored holds its value.
    ValuesHeld,
    /// The gateway is about to remove files of values that nobody needs.
    Sweeping,
    /// The worker has written all of a long result to a file, which has no name yet.
    ResultUnnamed,
    /// The file has its name, and the worker has told nobody.
    ResultNamed,
    /// The dispatcher has seen the file, and its key is not written.
    ResultWritten,
    /// The key of the file is written, and the task has not ended.
    ResultKeyed,
}

/// Which connection is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Clients and the gateway.
    ClientGateway,
    /// The gateway and Redis.
    GatewayRedis,
    /// The dispatcher and Redis.
    DispatcherRedis,
    /// The dispatcher and its workers.
    DispatcherWorker,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed.
    Kill(Victim, Stage),
    /// A connection is broken.
    Network(Connection, NetworkFault),
    /// The primary of Redis is killed, and its sentinels promote the replica.
    Failover,
    /// Every part in turn is asked to leave and started again.
    Rolling,
    /// A worker is taken out of service through the gateway, and started again.
    Drain,
}

/// A fault in a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// How tasks reach executors.
    pub mode: DispatchMode,
    /// What goes wrong.
    pub fault: Fault,
}

/// All stages, in a task's order.
pub const STAGES: [Stage; 7] = [
    Stage::BeforeEnqueue,
    Stage::Enqueued,
    Stage::Leased,
    Stage::Sent,
    Stage::Running,
    Stage::Computed,
    Stage::Stored,
];

/// The stages of values that tasks refer to, in their order.
pub const VALUE_STAGES: [Stage; 5] =
    [Stage::Uploaded, Stage::UploadNamed, Stage::UploadKept, Stage::ValuesHeld, Stage::Sweeping];

/// The stages of results that workers leave in files, in their order.
pub const RESULT_STAGES: [Stage; 4] =
    [Stage::ResultUnnamed, Stage::ResultNamed, Stage::ResultWritten, Stage::ResultKeyed];

const CONNECTIONS: [Connection; 4] = [
    Connection::ClientGateway,
    Connection::GatewayRedis,
    Connection::DispatcherRedis,
    Connection::DispatcherWorker,
];
const NETWORK_FAULTS: [NetworkFault; 4] =
    [NetworkFault::Cut, NetworkFault::HalfOpen, NetworkFault::Slow, NetworkFault::Reset];

/// Every scenario: six victims at seven stages in pull and push, the two that differ in local mode, four
/// faults of each connection, the gateway and Redis at five stages of values, those who have results in files at four stages of these, a failover of Redis, and in pull and push restarts of all parts and workers that are drained.
#[must_use]
pub fn all() -> Vec<Scenario> {
    use Victim::{Child, Dispatcher, Gateway, Redis, SandboxWorker, Worker};
    let victims = [
        (DispatchMode::Push, vec![Gateway, Dispatcher, Worker, SandboxWorker, Child, Redis]),
        (DispatchMode::Pull, vec![Gateway, Dispatcher, Worker, SandboxWorker, Child, Redis]),
        (DispatchMode::Local, vec![Dispatcher, Child]),
    ];
    let mut scenarios = Vec::new();
    for (mode, victims) in victims {
        for victim in victims {
            let kill = |stage| Scenario { mode, fault: Fault::Kill(victim, stage) };
            scenarios.extend(STAGES.map(kill));
        }
    }
    for victim in [Gateway, Redis] {
        let kill = |stage| Scenario { mode: DispatchMode::Push, fault: Fault::Kill(victim, stage) };
        scenarios.extend(VALUE_STAGES.map(kill));
    }
    let [unnamed, named, ..] = RESULT_STAGES;
    for (mode, victim, stages) in [
        (DispatchMode::Push, Worker, &[unnamed, named][..]),
        (DispatchMode::Push, Dispatcher, &RESULT_STAGES),
        (DispatchMode::Push, Redis, &RESULT_STAGES),
        (DispatchMode::Local, Dispatcher, &[unnamed, named]),
    ] {
        let kill = |stage: &Stage| Scenario { mode, fault: Fault::Kill(victim, *stage) };
        scenarios.extend(stages.iter().map(kill));
    }
    for mode in [DispatchMode::Push, DispatchMode::Pull] {
        // Only the last connection is used in another way in pull.
        let connections =
            if mode == DispatchMode::Pull { &CONNECTIONS[3..] } else { &CONNECTIONS[..] };
        for connection in connections {
            scenarios.extend(
                NETWORK_FAULTS
                    .map(|how| Scenario { mode, fault: Fault::Network(*connection, how) }),
            );
        }
    }
    scenarios.push(Scenario { mode: DispatchMode::Push, fault: Fault::Failover });
    for fault in [Fault::Rolling, Fault::Drain] {
        scenarios
            .extend([DispatchMode::Push, DispatchMode::Pull].map(|mode| Scenario { mode, fault }));
    }
    scenarios
}

impl Scenario {
    /// Whether tasks run in the sandbox.
    #[must_use]
    pub const fn is_sandboxed(self) -> bool {
        matches!(self.fault, Fault::Kill(Victim::SandboxWorker, _))
    }

    /// Whether tasks refer to values that were uploaded.
    #[must_use]
    pub fn has_values(self) -> bool {
        matches!(self.fault, Fault::Kill(_, stage) if VALUE_STAGES.contains(&stage))
    }

    /// Whether some tasks return so much that it is left in a file.
    #[must_use]
    pub fn has_long_results(self) -> bool {
        matches!(self.fault, Fault::Kill(_, stage) if RESULT_STAGES.contains(&stage))
    }

    /// Whether a pattern, in which `*` stands for any text, matches the name.
    #[must_use]
    pub fn matches(self, pattern: &str) -> bool {
        let name = self.to_string();
        let mut rest = name.as_str();
        let mut parts = pattern.split('*').peekable();
        let Some(first) = parts.next() else { return false };
        let Some(after) = rest.strip_prefix(first) else { return false };
        rest = after;
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some(start) = rest.find(part) else { return false };
            rest = &rest[start + part.len()..];
        }
        true
    }
}

impl Fault {
    /// How soon after the fault every task that was open must have ended. A dead dispatcher takes longest: the
    /// next one must first be sure that it is dead. Long results must be made and moved once more.
    #[must_use]
    pub const fn bound(self) -> Duration {
        match self {
            Self::Kill(_, Stage::ResultUnnamed | Stage::ResultNamed) => Duration::from_secs(5),
            Self::Kill(
                Victim::Gateway | Victim::Worker | Victim::SandboxWorker | Victim::Child,
                _,
            ) => Duration::from_secs(3),
            Self::Kill(Victim::Dispatcher | Victim::Redis, _)
            | Self::Network(..)
            | Self::Failover
            | Self::Rolling
            | Self::Drain => Duration::from_secs(5),
        }
    }
}

impl Stage {
    /// The fail point's name.
    #[must_use]
    pub const fn point(self) -> &'static str {
        match self {
            Self::BeforeEnqueue => "before_enqueue",
            Self::Enqueued => "enqueued",
            Self::Leased => "leased",
            Self::Sent => "sent",
            Self::Running => "running",
            Self::Computed => "computed",
            Self::Stored => "stored",
            Self::Uploaded => "uploaded",
            Self::UploadNamed => "upload_named",
            Self::UploadKept => "upload_kept",
            Self::ValuesHeld => "values_held",
            Self::Sweeping => "sweeping",
            Self::ResultUnnamed => "result_unnamed",
            Self::ResultNamed => "result_named",
            Self::ResultWritten => "result_written",
            Self::ResultKeyed => "result_keyed",
        }
    }
}

impl DispatchMode {
    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, how) = match self.fault {
            Fault::Kill(victim, stage) => (victim.as_str(), stage.point()),
            Fault::Network(connection, how) => (connection.as_str(), name_of(how)),
            Fault::Failover => ("primary", "failover"),
            Fault::Rolling => ("all", "rolling"),
            Fault::Drain => ("worker", "drain"),
        };
        write!(f, "{}/{what}/{how}", self.mode.as_str())
    }
}

impl Victim {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Dispatcher => "dispatcher",
            Self::Worker => "worker",
            Self::SandboxWorker => "sandbox-worker",
            Self::Child => "child",
            Self::Redis => "redis",
        }
    }
}

impl Connection {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ClientGateway => "client-gateway",
            Self::GatewayRedis => "gateway-redis",
            Self::DispatcherRedis => "dispatcher-redis",
            Self::DispatcherWorker => "dispatcher-worker",
        }
    }
}

const fn name_of(fault: NetworkFault) -> &'static str {
    match fault {
        NetworkFault::Cut => "cut",
        NetworkFault::HalfOpen => "half-open",
        NetworkFault::Slow => "slow",
        NetworkFault::Reset => "reset",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_scenario_has_its_own_name() {
        let names: HashSet<_> = all().iter().map(Scenario::to_string).collect();
        assert_eq!(names.len(), 2 * 6 * 7 + 2 * 7 + 2 * 5 + 12 + 4 * 4 + 4 + 5);
    }

    #[test]
    fn patterns_choose_cells() {
        let count =
            |pattern| all().into_iter().filter(|scenario| scenario.matches(pattern)).count();
        assert_eq!(count("push/worker/sent"), 1);
        assert_eq!(count("push/worker"), 0);
        assert_eq!(count("*/worker/*"), 18);
        assert_eq!(count("*/sent"), 14);
        assert_eq!(count("pull/*-*/cut"), 1);
        assert_eq!(count("*"), all().len());
    }
}
