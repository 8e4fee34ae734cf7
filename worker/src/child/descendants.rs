//! What children started, as the process table shows it. A supervisor kills its descendants itself; here is
//! what helps where a function keeps it from that.

use std::collections::HashSet;
use std::fs;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};

/// One row of the process table.
struct Row {
    pid: Pid,
    parent: i32,
    session: i32,
}

/// Helps a child to end that was asked to: kills what it started, so that nobody stops it again, and lets it
/// go on.
pub(super) fn help_to_end(child: Pid) {
    let table = table();
    let mut found = vec![child];
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|pid| pid.as_raw_nonzero().get()) {
        found.extend(table.iter().filter(|row| row.parent == parent).map(|row| row.pid));
        next += 1;
    }
    found[1..].iter().for_each(|pid| kill(*pid, Signal::KILL));
    kill(child, Signal::CONT);
}

/// Kills and collects what lost its supervisor: processes that are this one's children and in another session,
/// but not among `children`. Whether there were any: then their own children are orphans next.
pub(super) fn kill_orphans(children: &HashSet<Pid>) -> bool {
    let own = getpid().as_raw_nonzero().get();
    // Not by getsid: in a container the session may be one of outside, whose number is 0 there and no `Pid`.
    let Some(Row { session, .. }) = row(own) else { return false };
    let mut table = table();
    table.retain(|row| row.parent == own && row.session != session && !children.contains(&row.pid));
    for orphan in &table {
        kill(orphan.pid, Signal::KILL);
        let _ = waitpid(Some(orphan.pid), WaitOptions::NOHANG);
    }
    !table.is_empty()
}

fn kill(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

fn table() -> Vec<Row> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| row(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn row(pid: i32) -> Option<Row> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so the fields are counted from its end: state, parent,
    // group, session.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Row { pid: Pid::from_raw(pid)?, parent, session })
}
