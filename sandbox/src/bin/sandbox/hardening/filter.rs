//! Which system calls the process may still make, with which arguments.
//!
//! The filter sees numbers only, never what a pointer points to. So a call that takes a path is on the list
//! only where the path is relative to a directory that is open.

use std::collections::BTreeMap;

use belljar_sandbox::PAGEMAP_SCAN;
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{Eq, Le, MaskedEq};
use seccompiler::{BackendError, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule};

use super::OPEN_FILES;

/// The filter cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be made.
    #[error("the filter of system calls cannot be made")]
    Filter(#[from] BackendError),
    /// It cannot be applied.
    #[error("the filter of system calls cannot be applied")]
    Apply(#[from] seccompiler::Error),
}

/// Filters the system calls of all threads, from now on.
pub(crate) fn apply() -> Result<(), Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    for (call, index, operator, value) in bounded() {
        let condition = SeccompCondition::new(index, Dword, operator, value)?;
        rules.insert(call, vec![SeccompRule::new(vec![condition])?]);
    }
    // What is not on the list fails: a process that dies of it would tell less than one that goes on.
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(
        rules,
        refuse,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    let program: seccompiler::BpfProgram = filter.try_into()?;
    seccompiler::apply_filter_all_threads(&program)?;
    Ok(())
}

/// What a call may do with any arguments.
const ALLOWED: &[i64] = &[
    // The channel, the guest's output and its files.
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_getdents64,
    // Memory.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Clocks, sleep, randomness.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    // Traps arrive as signals; locks and the end of threads and of the process.
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// A call, the place of the argument that matters, and what holds for it.
type Bounded = (i64, u8, seccompiler::SeccompCmpOp, u64);

/// What a call may do with some arguments only.
fn bounded() -> [Bounded; 6] {
    const EXEC: u64 = libc::PROT_EXEC as u64;
    [
        // Beneath a directory that is open, never beneath the working directory, whose number is negative.
        // Of the descriptors that are open, only granted directories and what is in them are directories.
        (libc::SYS_openat2, 0, Le, OPEN_FILES),
        (libc::SYS_readlinkat, 0, Le, OPEN_FILES),
        // The compiled guest is mapped already.
        (libc::SYS_mmap, 2, MaskedEq(EXEC), 0),
        (libc::SYS_mprotect, 2, MaskedEq(EXEC), 0),
        (libc::SYS_ioctl, 1, Eq, PAGEMAP_SCAN),
        // To abort.
        (libc::SYS_tgkill, 0, Eq, std::process::id().into()),
    ]
}
