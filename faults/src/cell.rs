//! The matrix: which fault, where, in which mode. A cell's name is its three parts by slashes, as
//! `push/worker/sent` or `pull/gateway-redis/cut`.

use std::fmt;
use std::time::Duration;

use crate::proxy::Weather;

/// How tasks get to the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A pool in the dispatcher.
    Local,
    /// Workers ask.
    Pull,
    /// The dispatcher sends.
    Push,
}

/// Who is killed.
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

/// Where the walk of a task stands at that moment; each is a fail point of the same name.
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
}

/// Which connection is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Clients and the gateway.
    ClientGateway,
    /// The gateway and Redis.
    GatewayRedis,
    /// The dispatcher and Redis.
    DispatcherRedis,
    /// The dispatcher and its workers.
    DispatcherWorker,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Cut for one to four seconds.
    Cut,
    /// Half open for as long: it takes everything and delivers nothing.
    HalfOpen,
    /// Half a second late, and up to as much again, for as long.
    Slow,
    /// Reset in the midst of a message.
    Reset,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed.
    Kill(Victim, Stage),
    /// A connection is broken.
    Network(Link, Break),
}

/// One cell of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// In which mode.
    pub mode: Mode,
    /// What is done.
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

const LINKS: [Link; 4] =
    [Link::ClientGateway, Link::GatewayRedis, Link::DispatcherRedis, Link::DispatcherWorker];
const BREAKS: [Break; 4] = [Break::Cut, Break::HalfOpen, Break::Slow, Break::Reset];

/// Every cell: six victims at seven stages in pull and push, what differs in local mode, and four ways
/// to break each connection.
#[must_use]
pub fn all() -> Vec<Cell> {
    use Victim::{Child, Dispatcher, Gateway, Redis, SandboxWorker, Worker};
    let victims = [
        (Mode::Push, vec![Gateway, Dispatcher, Worker, SandboxWorker, Child, Redis]),
        (Mode::Pull, vec![Gateway, Dispatcher, Worker, SandboxWorker, Child, Redis]),
        (Mode::Local, vec![Dispatcher, Child]),
    ];
    let mut cells = Vec::new();
    for (mode, victims) in victims {
        for victim in victims {
            let kill = |stage| Cell { mode, fault: Fault::Kill(victim, stage) };
            cells.extend(STAGES.map(kill));
        }
    }
    for mode in [Mode::Push, Mode::Pull] {
        // Only the last of the connections is another in pull.
        let links = if mode == Mode::Pull { &LINKS[3..] } else { &LINKS[..] };
        for link in links {
            cells.extend(BREAKS.map(|how| Cell { mode, fault: Fault::Network(*link, how) }));
        }
    }
    cells
}

impl Cell {
    /// Whether tasks run in the sandbox.
    #[must_use]
    pub const fn is_sandboxed(self) -> bool {
        matches!(self.fault, Fault::Kill(Victim::SandboxWorker, _))
    }

    /// Whether a pattern, in which `*` stands for any text, fits the name.
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
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

impl Fault {
    /// How soon after its end everything must be as before. A dead dispatcher is waited for longest:
    /// another must first be sure that it is dead.
    #[must_use]
    pub const fn bound(self) -> Duration {
        match self {
            Self::Kill(
                Victim::Gateway | Victim::Worker | Victim::SandboxWorker | Victim::Child,
                _,
            ) => Duration::from_secs(3),
            Self::Kill(Victim::Dispatcher | Victim::Redis, _) | Self::Network(..) => {
                Duration::from_secs(5)
            }
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
        }
    }
}

impl Break {
    /// The weather that it is, for half a second or longer.
    #[must_use]
    pub const fn weather(self) -> Weather {
        match self {
            Self::Cut => Weather::Cut,
            Self::HalfOpen => Weather::Silent,
            Self::Slow => Weather::Slow(Duration::from_millis(500)),
            Self::Reset => Weather::Torn,
        }
    }
}

impl Mode {
    /// The word in commands.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, how) = match self.fault {
            Fault::Kill(victim, stage) => (victim.as_str(), stage.point()),
            Fault::Network(link, how) => (link.as_str(), how.as_str()),
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

impl Link {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ClientGateway => "client-gateway",
            Self::GatewayRedis => "gateway-redis",
            Self::DispatcherRedis => "dispatcher-redis",
            Self::DispatcherWorker => "dispatcher-worker",
        }
    }
}

impl Break {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::HalfOpen => "half-open",
            Self::Slow => "slow",
            Self::Reset => "reset",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_cell_has_a_name_of_its_own() {
        let names: HashSet<_> = all().iter().map(Cell::to_string).collect();
        assert_eq!(names.len(), 2 * 6 * 7 + 2 * 7 + 4 * 4 + 4);
    }

    #[test]
    fn patterns_choose_cells() {
        let count = |pattern| all().into_iter().filter(|cell| cell.matches(pattern)).count();
        assert_eq!(count("push/worker/sent"), 1);
        assert_eq!(count("push/worker"), 0);
        assert_eq!(count("*/worker/*"), 14);
        assert_eq!(count("*/sent"), 14);
        assert_eq!(count("pull/*-*/cut"), 1);
        assert_eq!(count("*"), all().len());
    }
}
