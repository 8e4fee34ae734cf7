//! A scenario: which fault, where, in which mode. Its name joins the three by slashes: `push/worker/sent`,
//! `pull/gateway-redis/cut`. Behind those whose large values are in a bucket stands `/bucket`, where nothing else says so.

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
    /// The bucket of large values.
    Bucket,
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
    /// The gateway has written large arguments, and their key is not.
    ArgsWritten,
    /// A worker has got a part of large arguments from the bucket.
    ArgsComing,
    /// A worker has all of them.
    ArgsCome,
    /// A worker has written a part of a long result to the bucket.
    ResultSending,
    /// The worker has written all of a long result to a file, which has no name yet.
    ResultUnnamed,
    /// The file has its name, and the worker has told nobody.
    ResultNamed,
    /// The dispatcher has seen the file, and its key is not written.
    ResultWritten,
    /// The key of the file is written, and the task has not ended.
    ResultKeyed,
}

/// All stages of tasks, in their order.
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

/// The stages of large arguments and results, in their order.
pub const LARGE_STAGES: [Stage; 8] = [
    Stage::ArgsWritten,
    Stage::ArgsComing,
    Stage::ArgsCome,
    Stage::ResultUnnamed,
    Stage::ResultSending,
    Stage::ResultNamed,
    Stage::ResultWritten,
    Stage::ResultKeyed,
];

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
    /// The bucket and all who use it.
    Bucket,
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

/// Where large values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValuePlace {
    /// In a directory, if tasks have some.
    Directory,
    /// In a bucket.
    Bucket,
}

/// A fault in a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// How tasks reach executors.
    pub mode: DispatchMode,
    /// What goes wrong.
    pub fault: Fault,
    /// Where large values are.
    pub place: ValuePlace,
}

impl Scenario {
    /// One without large values, or with these in a directory.
    #[must_use]
    pub const fn new(mode: DispatchMode, fault: Fault) -> Self {
        Self { mode, fault, place: ValuePlace::Directory }
    }

    /// The same with large values in a bucket.
    #[must_use]
    pub const fn in_bucket(mode: DispatchMode, fault: Fault) -> Self {
        Self { mode, fault, place: ValuePlace::Bucket }
    }

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

    /// Whether some tasks get or return so much that a worker reads or writes it itself.
    #[must_use]
    pub fn has_large_tasks(self) -> bool {
        match self.fault {
            Fault::Kill(_, stage) => LARGE_STAGES.contains(&stage),
            Fault::Network(Connection::Bucket, _) => true,
            _ => false,
        }
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

impl Scenario {
    /// How soon after the fault every task that was open must have ended. What is large goes to and from a bucket several times.
    #[must_use]
    pub fn bound(self) -> Duration {
        match self.place {
            ValuePlace::Bucket if self.has_large_tasks() => 2 * self.fault.bound(),
            _ => self.fault.bound(),
        }
    }
}

impl Fault {
    /// How soon after the fault every task that was open must have ended. A dead dispatcher takes longest: the
    /// next one must first be sure that it is dead. Large arguments and results must be made and moved once more.
    #[must_use]
    pub const fn bound(self) -> Duration {
        match self {
            Self::Kill(_, stage) if stage.is_of_large_tasks() => Duration::from_secs(5),
            Self::Kill(
                Victim::Gateway | Victim::Worker | Victim::SandboxWorker | Victim::Child,
                _,
            ) => Duration::from_secs(3),
            Self::Kill(Victim::Dispatcher | Victim::Redis | Victim::Bucket, _)
            | Self::Network(..)
            | Self::Failover
            | Self::Rolling
            | Self::Drain => Duration::from_secs(5),
        }
    }
}

impl Stage {
    /// Whether a worker reads or writes there what is large.
    const fn is_of_large_tasks(self) -> bool {
        matches!(
            self,
            Self::ArgsComing
                | Self::ArgsCome
                | Self::ResultSending
                | Self::ResultUnnamed
                | Self::ResultNamed
        )
    }

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
            Self::ArgsWritten => "args_written",
            Self::ArgsComing => "args_coming",
            Self::ArgsCome => "args_come",
            Self::ResultSending => "result_sending",
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
        write!(f, "{}/{what}/{how}", self.mode.as_str())?;
        if self.place == ValuePlace::Bucket && what != Victim::Bucket.as_str() {
            f.write_str("/bucket")?;
        }
        Ok(())
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
            Self::Bucket => "bucket",
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
            Self::Bucket => "bucket",
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
