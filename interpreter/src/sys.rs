//! The system calls that have no safe wrapper, each behind a safe function. All the unsafe code of
//! the supervisor and of the limits is here.
#![expect(unsafe_code, reason = "libc calls; each states why it is sound")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// What `waitpid` had to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaped {
    /// There is no child, alive or dead.
    NoChildren,
    /// There are children, and none has ended.
    NoneEnded,
    /// This one has ended; its wait status.
    Ended(i32, i32),
}

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fork {
    /// The new process.
    Child,
    /// The old one; the new one's id.
    Parent(i32),
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Splits the process in two. Only to be called while it has one thread.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: called at the start of `main`, with no other thread that could hold a lock.
    match check(unsafe { libc::fork() })? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Orphans of this process's descendants become its children.
pub(crate) fn become_subreaper() -> io::Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// Has the kernel send this process a signal when its parent ends.
pub(crate) fn at_parents_end(signal: i32) -> io::Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) }).map(drop)
}

/// Names the process for `ps` and `top`.
pub(crate) fn set_name(name: &CStr) {
    // SAFETY: the pointer is to a NUL-terminated string; the kernel copies at most 16 bytes of it.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: `sigemptyset` initialises the set before anything reads it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

/// Blocks every signal and gives a descriptor that tells of those in `watched`.
pub(crate) fn block_and_watch(watched: &[i32]) -> io::Result<OwnedFd> {
    let set = signal_set(watched);
    // SAFETY: both sets are initialised; the new descriptor is owned by nobody else.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()))?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        let fd = check(libc::signalfd(-1, &raw const set, flags))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Lets every signal through again.
pub(crate) fn unblock_signals() -> io::Result<()> {
    let none = signal_set(&[]);
    // SAFETY: the set is initialised.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) })
        .map(drop)
}

/// Whether this thread blocks any signal that a program could mean to block.
pub(crate) fn blocks_signals() -> bool {
    // SAFETY: the set is initialised, then filled by the call.
    unsafe {
        let mut set = signal_set(&[]);
        libc::sigprocmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut set);
        (1..32).any(|signal| libc::sigismember(&raw const set, signal) == 1)
    }
}

/// A child that has ended, left uncollected: its id stays taken.
pub(crate) fn ended_child() -> Option<i32> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the structure is plain data that the call fills; its id is 0 where none has ended.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        check(libc::waitid(libc::P_ALL, 0, &raw mut info, flags)).ok()?;
        Some(info.si_pid()).filter(|&pid| pid != 0)
    }
}

/// Collects one child that has ended, without waiting.
pub(crate) fn reap() -> Reaped {
    let mut status = 0;
    // SAFETY: the pointer is to a local integer.
    match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
        0 => Reaped::NoneEnded,
        pid if pid > 0 => Reaped::Ended(pid, status),
        _ => Reaped::NoChildren,
    }
}

/// Collects this child, which has ended.
pub(crate) fn collect(pid: i32) {
    let mut status = 0;
    // SAFETY: the pointer is to a local integer.
    unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
}

/// Sends SIGKILL to a process, or for a negative id to a process group.
pub(crate) fn kill(pid: i32) {
    // SAFETY: takes integers only.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Ends this process at once: no handlers, no destructors.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

/// Ends this process as `status` says that another has ended: by the same signal or with the same
/// exit code.
pub(crate) fn end_like(status: i32) -> ! {
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        // SAFETY: the default action and an unblocked signal; nothing of ours runs afterwards.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            // Only this one: a SIGTERM that waits must not get in before it.
            let set = signal_set(&[signal]);
            libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
            libc::kill(libc::getpid(), signal);
        }
        exit(128 + signal);
    }
    exit(libc::WEXITSTATUS(status))
}

/// The id of this process; asks the kernel, so it is right after a fork that Python made.
pub(crate) fn pid() -> i32 {
    // SAFETY: cannot fail.
    unsafe { libc::getpid() }
}

/// What this process has used since its start.
pub(crate) struct ProcessUsage {
    /// The most memory that it ever held, in bytes.
    pub(crate) max_resident: u64,
    /// Its processor time in microseconds, and that of children which have ended and were waited for.
    pub(crate) cpu_us: u64,
}

/// What this process has used.
pub(crate) fn usage() -> ProcessUsage {
    let of = |who| {
        // SAFETY: the structure is plain data that the call fills.
        unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(who, &raw mut usage);
            usage
        }
    };
    let us =
        |time: libc::timeval| u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec).unwrap_or(0);
    let cpu_us = |usage: &libc::rusage| us(usage.ru_utime) + us(usage.ru_stime);
    let (own, children) = (of(libc::RUSAGE_SELF), of(libc::RUSAGE_CHILDREN));
    ProcessUsage {
        max_resident: u64::try_from(own.ru_maxrss).unwrap_or(0) * 1024,
        cpu_us: cpu_us(&own) + cpu_us(&children),
    }
}

/// Whether a timer is armed that would send SIGALRM later.
pub(crate) fn alarm_is_set() -> bool {
    // SAFETY: the structure is plain data that the call fills.
    let timer = unsafe {
        let mut timer: libc::itimerval = std::mem::zeroed();
        libc::getitimer(libc::ITIMER_REAL, &raw mut timer);
        timer
    };
    timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0
}

unsafe extern "C" {
    static mut environ: *mut *mut libc::c_char;
}

/// The environment as C code and the programs that it starts see it, `NAME=VALUE` each.
pub(crate) fn environment() -> Vec<CString> {
    variables().map(CStr::to_owned).collect()
}

/// Whether the environment is `expected`.
pub(crate) fn environment_is(expected: &[CString]) -> bool {
    variables().eq(expected.iter().map(CString::as_c_str))
}

/// The variables. Nothing may change them while this is in use.
fn variables() -> impl Iterator<Item = &'static CStr> {
    // SAFETY: a list of strings that ends with a null pointer, or null where there is none. Its users are
    // done with it before the interpreter's lock, which guards changes, is given away.
    unsafe {
        let list = environ;
        let at = move |index: usize| match list.is_null() {
            true => None,
            false => Some(*list.add(index)).filter(|text| !text.is_null()),
        };
        (0..).map_while(at).map(|text| CStr::from_ptr(text))
    }
}

/// Makes `variables` the environment.
pub(crate) fn set_environment(variables: &[CString]) {
    // SAFETY: `putenv` keeps the pointer, so each string is given away for good: it is 100 bytes for a call
    // that changed the environment.
    unsafe {
        libc::clearenv();
        for variable in variables {
            libc::putenv(variable.clone().into_raw());
        }
    }
}

/// The names of the locales that are set.
pub(crate) fn locale() -> Option<CString> {
    // SAFETY: only asks. The text is copied before anything changes it.
    unsafe {
        let name = libc::setlocale(libc::LC_ALL, std::ptr::null());
        (!name.is_null()).then(|| CStr::from_ptr(name).to_owned())
    }
}

/// Whether the locales are `expected`; sets them where they are not.
pub(crate) fn restore_locale(expected: &CStr) {
    // SAFETY: strings that end with a zero byte; no other thread uses the locale meanwhile.
    unsafe {
        let name = libc::setlocale(libc::LC_ALL, std::ptr::null());
        if name.is_null() || CStr::from_ptr(name) != expected {
            libc::setlocale(libc::LC_ALL, expected.as_ptr());
        }
    }
}

/// Writes out what C code has buffered for its standard streams.
pub(crate) fn flush_c_streams() {
    // SAFETY: a null stream means all of them.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Keeps the allocator at one arena, and some memory with it between two calls.
///
/// Each further arena reserves 64 MiB of address space, which would count against a call's memory limit;
/// and at the limit every small allocation would fail in the first before it succeeds in the second, so
/// that a memory bomb takes seconds to go off. Memory that goes back to the system after each call with a
/// mebibyte of arguments cost a thousand page faults in the next.
pub(crate) fn set_up_allocator() {
    #[cfg(target_env = "gnu")]
    {
        const M_TRIM_THRESHOLD: i32 = -1;
        const M_MMAP_THRESHOLD: i32 = -3;
        const M_ARENA_MAX: i32 = -8;
        const KEPT_BYTES: i32 = 16 << 20;
        const MAPPED_BYTES: i32 = 4 << 20;
        // SAFETY: takes integers only; called before any thread exists.
        unsafe {
            libc::mallopt(M_ARENA_MAX, 1);
            libc::mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
            libc::mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
        }
    }
}

/// The path of the shared library that holds the function at `symbol`.
pub(crate) fn library_of(symbol: *const ()) -> Option<std::path::PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    // SAFETY: `dladdr` takes any address; on success the name is a string that lives as long as the
    // library is loaded.
    let name = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(symbol.cast(), &raw mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        CStr::from_ptr(info.dli_fname)
    };
    std::fs::canonicalize(std::ffi::OsStr::from_bytes(name.to_bytes())).ok()
}
