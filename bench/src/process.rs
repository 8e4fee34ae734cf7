//! Processor time and memory of the processes of a service.

use std::collections::BTreeMap;
use std::path::Path;

use procfs::process::{Process, Stat, all_processes};
use procfs::{Current, Meminfo, ProcResult, WithCurrentSystemInfo as _};

use crate::service::Service;

/// Seconds of processor time, by the role of the process.
pub(crate) type Usage = BTreeMap<&'static str, f64>;

/// The role of processes that have ended.
const ENDED: &str = "ended processes";
/// The role of this process.
pub(crate) const CLIENT: &str = "client";
const MIB: f64 = (1 << 20) as f64;

/// Measures the processor time of a piece of work.
#[derive(Debug)]
pub(crate) struct UsageTimer {
    /// `None` for a service that was not started here: its processes may run anywhere.
    pid: Option<u32>,
    before: Usage,
    client: f64,
}

/// Seconds of processor time.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    /// Of each role that used any.
    pub(crate) parts: Usage,
    pub(crate) total: f64,
}

impl UsageTimer {
    pub(crate) fn start(service: &Service) -> Self {
        let pid = service.pid();
        Self { pid, before: pid.map(usage).unwrap_or_default(), client: own_seconds() }
    }

    /// The cost since the start; `None` where it is unknown.
    pub(crate) fn stop(self) -> Option<Cost> {
        let client = own_seconds() - self.client;
        let after = usage(self.pid?);
        let total = total(&self.before, &after) + client;
        let mut parts = difference(&self.before, &after);
        parts.insert(CLIENT, client);
        Some(Cost { parts, total })
    }

    /// The total cost of each of so many tasks in microseconds, as a sample where it is known.
    pub(crate) fn stop_per_task(self, tasks: usize) -> Vec<f64> {
        self.stop().map(|cost| cost.total * 1e6 / tasks as f64).into_iter().collect()
    }
}

/// The processor time of `root` and its descendants until now.
pub(crate) fn usage(root: u32) -> Usage {
    let mut used = Usage::new();
    for (process, stat) in tree(root) {
        *used.entry(role(&process)).or_default() += seconds(stat.utime + stat.stime);
        *used.entry(ENDED).or_default() += ended_seconds(&stat);
    }
    used
}

/// The processor time between two readings.
pub(crate) fn total(before: &Usage, after: &Usage) -> f64 {
    // The time of a process that ends in between moves to the ended ones.
    after.values().sum::<f64>() - before.values().sum::<f64>()
}

/// The processor time between two readings, of each role that used any.
fn difference(before: &Usage, after: &Usage) -> Usage {
    let used = |(role, after): (&&'static str, &f64)| {
        let seconds = after - before.get(role).unwrap_or(&0.0);
        (seconds > 0.0).then_some((*role, seconds))
    };
    after.iter().filter_map(used).collect()
}

/// The processor time of this process.
fn own_seconds() -> f64 {
    own_stat().map_or(0.0, |stat| seconds(stat.utime + stat.stime))
}

/// The processor time of this process and of its children that have ended.
pub(crate) fn family_seconds() -> f64 {
    own_stat().map_or(0.0, |stat| seconds(stat.utime + stat.stime) + ended_seconds(&stat))
}

/// Memory of the processes below `root` with a role, in MiB: resident, and shared with no other process.
pub(crate) fn memory_mib(root: u32, wanted: &str) -> [Vec<f64>; 2] {
    let processes = tree(root).into_iter().filter(|(process, _)| role(process) == wanted);
    let (resident, private): (Vec<_>, Vec<_>) = processes
        .map(|(process, stat)| {
            let resident = stat.rss_bytes().get() as f64 / MIB;
            (resident, private_mib(&process).ok().flatten())
        })
        .unzip();
    [resident, private.into_iter().flatten().collect()]
}

fn private_mib(process: &Process) -> ProcResult<Option<f64>> {
    let maps = process.smaps_rollup()?.memory_map_rollup;
    let bytes = maps.0.first().and_then(|map| map.extension.map.get("Private_Dirty").copied());
    Ok(bytes.map(|bytes| bytes as f64 / MIB))
}

/// The memory of the machine, and the part of it that is available, in MiB.
pub(crate) fn machine_mib() -> (f64, f64) {
    let memory = Meminfo::current().ok();
    let mib = |bytes: u64| bytes as f64 / MIB;
    memory.map_or((0.0, 0.0), |memory| {
        (mib(memory.mem_total), mib(memory.mem_available.unwrap_or_default()))
    })
}

/// `root` and its descendants.
fn tree(root: u32) -> Vec<(Process, Stat)> {
    let all = all_processes().into_iter().flatten().flatten();
    let mut all: Vec<_> =
        all.filter_map(|process| process.stat().ok().map(|stat| (process, stat))).collect();
    let mut found = Vec::new();
    let mut pids = vec![root.cast_signed()];
    while let Some(pid) = pids.pop() {
        pids.extend(all.iter().filter(|(_, stat)| stat.ppid == pid).map(|(_, stat)| stat.pid));
        if let Some(at) = all.iter().position(|(_, stat)| stat.pid == pid) {
            found.push(all.swap_remove(at));
        }
    }
    found
}

fn own_stat() -> ProcResult<Stat> {
    Process::myself()?.stat()
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

/// The processor time of children that have ended.
fn ended_seconds(stat: &Stat) -> f64 {
    seconds((stat.cutime + stat.cstime).max(0).cast_unsigned())
}

/// The role of a process, by its command line.
fn role(process: &Process) -> &'static str {
    role_of(&process.cmdline().unwrap_or_default())
}

fn role_of(command: &[String]) -> &'static str {
    // Redis puts its address behind its name, with a space.
    let mut words = command.iter().flat_map(|word| word.split(' '));
    let program = words.next().map(Path::new).and_then(Path::file_name);
    match program.and_then(|name| name.to_str()).unwrap_or_default() {
        "belljar-python" => "native Python",
        "belljar-sandbox" => "sandbox",
        "redis-server" => "Redis",
        "belljar" => match words.next() {
            Some("gateway") => "gateway",
            Some("dispatcher") => "dispatcher",
            Some("worker") => "worker",
            _ => "up",
        },
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_follow_from_command_lines() {
        let role_of =
            |words: &[&str]| role_of(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(role_of(&["/usr/bin/redis-server unixsocket:/tmp/a/redis.sock"]), "Redis");
        assert_eq!(role_of(&["target/release/belljar", "gateway", "--listen"]), "gateway");
        assert_eq!(role_of(&["/opt/belljar-sandbox", "--guest", "/x"]), "sandbox");
        assert_eq!(role_of(&[]), "other");
    }

    #[test]
    fn own_work_is_seen() {
        let before = own_seconds();
        let mut number = 1_u64;
        while own_seconds() - before < 0.05 {
            number = std::hint::black_box(number.wrapping_mul(31));
        }
        let used = usage(std::process::id());
        assert!(used["other"] >= 0.05, "{used:?}");
    }

    #[test]
    fn a_child_is_found_below_its_parent() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let is_found = |pid: u32| {
            tree(std::process::id()).iter().any(|(_, stat)| stat.pid == pid.cast_signed())
        };
        assert!(is_found(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_found(child.id()));
    }

    #[test]
    fn the_difference_leaves_out_unused_roles() {
        let before = Usage::from([("Redis", 1.0), ("gateway", 2.0)]);
        let after = Usage::from([("Redis", 1.0), ("gateway", 2.5), ("sandbox", 0.25)]);
        assert_eq!(difference(&before, &after), Usage::from([("gateway", 0.5), ("sandbox", 0.25)]));
    }
}
