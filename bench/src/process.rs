//! What processes use: processor time and memory of a tree of processes, read from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Seconds of processor time by the part that each process plays.
pub(crate) type Usage = BTreeMap<&'static str, f64>;

/// The part that was played by processes that are gone.
const GONE: &str = "ended processes";
/// Processor time is counted in these: the kernel promises programs a hundred to the second.
const TICKS_PER_SECOND: f64 = 100.0;

/// One line of the process table.
#[derive(Debug, Clone)]
struct Entry {
    pid: u32,
    parent: u32,
    /// Used by the process itself.
    own: f64,
    /// Used by children of it that have ended.
    ended: f64,
}

/// The processor time that `root` and everything below it have used until now.
pub(crate) fn usage(root: u32) -> Usage {
    let mut used = Usage::new();
    for entry in tree(root) {
        *used.entry(role(entry.pid)).or_default() += entry.own;
        *used.entry(GONE).or_default() += entry.ended;
    }
    used
}

/// All that was used between two readings.
pub(crate) fn total(before: &Usage, after: &Usage) -> f64 {
    // Of processes that ended in between, the time moves from their part to that of ended ones.
    after.values().sum::<f64>() - before.values().sum::<f64>()
}

/// What was used between two readings, part by part; parts that used nothing are left out.
pub(crate) fn between(before: &Usage, after: &Usage) -> Usage {
    let used = |(role, after): (&&'static str, &f64)| {
        let seconds = after - before.get(role).unwrap_or(&0.0);
        (seconds > 0.0).then_some((*role, seconds))
    };
    after.iter().filter_map(used).collect()
}

/// The processor time of this process alone.
pub(crate) fn own_seconds() -> f64 {
    entry(std::process::id()).map_or(0.0, |entry| entry.own)
}

/// The processor time of this process and of all its children that have ended.
pub(crate) fn family_seconds() -> f64 {
    entry(std::process::id()).map_or(0.0, |entry| entry.own + entry.ended)
}

/// Processes below `root` that play a part.
pub(crate) fn playing(root: u32, part: &str) -> Vec<u32> {
    tree(root).iter().map(|entry| entry.pid).filter(|&pid| role(pid) == part).collect()
}

/// The memory that a process shares with nobody, in MiB; `None` for one that may not be looked at.
pub(crate) fn private_mib(pid: u32) -> Option<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(kib(&rollup, "Private_Dirty:")? / 1024.0)
}

/// The memory that a process has in RAM, shared or not, in MiB.
pub(crate) fn resident_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(kib(&status, "VmRSS:")? / 1024.0)
}

/// The memory of the machine, in MiB.
pub(crate) fn total_mib() -> Option<f64> {
    Some(kib(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")? / 1024.0)
}

/// The memory that programs may still take, in MiB.
pub(crate) fn available_mib() -> Option<f64> {
    Some(kib(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")? / 1024.0)
}

fn kib(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// `root` and everything below it.
fn tree(root: u32) -> Vec<Entry> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<Entry> = pids.filter_map(entry).collect();
    let mut found: Vec<Entry> = all.iter().filter(|entry| entry.pid == root).cloned().collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|entry| entry.pid) {
        found.extend(all.iter().filter(|entry| entry.parent == parent).cloned());
        next += 1;
    }
    found
}

fn entry(pid: u32) -> Option<Entry> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse(pid, &stat)
}

fn parse(pid: u32, stat: &str) -> Option<Entry> {
    // The name in parentheses may hold anything; the fields begin behind the last one.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split(' ').collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    let seconds = |first| Some((ticks(first)? + ticks(first + 1)?) / TICKS_PER_SECOND);
    Some(Entry {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        own: seconds(11)?,
        ended: seconds(13)?,
    })
}

/// The part that a process plays, by its command line.
fn role(pid: u32) -> &'static str {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    role_of(&String::from_utf8_lossy(&command))
}

fn role_of(command: &str) -> &'static str {
    // Redis puts its address behind its name, with a space.
    let mut words = command.split(['\0', ' ']);
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
    fn names_with_spaces_and_parentheses_do_not_shift_the_fields() {
        let stat = "42 (a ) b) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 1 0";
        let entry = parse(42, stat).unwrap();
        assert_eq!((entry.parent, entry.own, entry.ended), (7, 2.0, 0.5));
    }

    #[test]
    fn processes_are_told_by_their_command_lines() {
        assert_eq!(role_of("/usr/bin/redis-server unixsocket:/tmp/a/redis.sock\0"), "Redis");
        assert_eq!(role_of("target/release/belljar\0gateway\0--listen\0"), "gateway");
        assert_eq!(role_of("/opt/belljar-sandbox\0--guest\0/x\0"), "sandbox");
        assert_eq!(role_of(""), "other");
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
        assert!(tree(std::process::id()).iter().any(|entry| entry.pid == child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree(std::process::id()).iter().all(|entry| entry.pid != child.id()));
    }

    #[test]
    fn only_what_grew_is_between() {
        let before = Usage::from([("Redis", 1.0), ("gateway", 2.0)]);
        let after = Usage::from([("Redis", 1.0), ("gateway", 2.5), ("sandbox", 0.25)]);
        assert_eq!(between(&before, &after), Usage::from([("gateway", 0.5), ("sandbox", 0.25)]));
    }
}
