//! Hardens the process: a guest that escapes from wasmtime finds itself in a process that can do next to
//! nothing.
//!
//! The process may read below the directories that it has open already and write to the descriptors that it
//! was given. It cannot start a process or thread, gain privileges, reach a network, or open another path.

use std::collections::BTreeMap;
use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope,
};
use rustix::fd::BorrowedFd;
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{BackendError, SeccompAction, SeccompFilter};

/// A restriction that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The kernel refuses a limit.
    #[error("a resource limit cannot be set")]
    Limit(#[from] io::Error),
    /// The kernel refuses to restrict files.
    #[error("landlock cannot be applied")]
    Landlock(#[from] RulesetError),
    /// The filter of system calls cannot be made.
    #[error("the filter of system calls cannot be made")]
    Filter(#[from] BackendError),
    /// The filter of system calls cannot be applied.
    #[error("the filter of system calls cannot be applied")]
    Apply(#[from] seccompiler::Error),
}

/// Closes every descriptor but 0 to 3, whatever the parent left open.
pub(crate) fn close_inherited_fds() {
    #[expect(unsafe_code, reason = "closing by number, before anything here owns a descriptor")]
    // SAFETY: called first in `main`.
    unsafe {
        libc::syscall(libc::SYS_close_range, 4_u32, u32::MAX, 0_u32);
    }
}

/// What threads inherit: resource limits, no new privileges, and of the file system only what is below
/// `granted`, to be read.
pub(crate) fn restrict_process<'fd>(
    granted: impl Iterator<Item = BorrowedFd<'fd>>,
) -> Result<(), Error> {
    for (resource, most) in
        [(Resource::Core, 0), (Resource::Fsize, 0), (Resource::Nofile, 512), (Resource::Memlock, 0)]
    {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(io::Error::from)?;
    }
    rustix::thread::set_no_new_privs(true).map_err(io::Error::from)?;
    restrict_files(granted)
}

/// Forbids all that this kernel's landlock can forbid; on a kernel without it, nothing.
fn restrict_files<'fd>(granted: impl Iterator<Item = BorrowedFd<'fd>>) -> Result<(), Error> {
    const NEWEST: ABI = ABI::V6;
    let rules = granted
        .map(|dir| Ok::<_, RulesetError>(PathBeneath::new(dir, AccessFs::from_read(NEWEST))));
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(rules)?
        .restrict_self()?;
    Ok(())
}

/// Filters the system calls of all threads, from now on.
pub(crate) fn apply_seccomp() -> Result<(), Error> {
    let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> =
        ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
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

/// What a call needs.
const ALLOWED: &[i64] = &[
    // The channel, the guest's output and its files, which `openat2` opens below granted directories.
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_openat2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    // The page map. Of the descriptors that are open no other takes a request that matters.
    libc::SYS_ioctl,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
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
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];
