//! Hardens the process: a guest that escapes from wasmtime finds itself in a process that can do next to
//! nothing.
//!
//! The process may read below the directories that it has open already and write to the descriptors that it
//! was given. It cannot start a process or thread, gain privileges, reach a network, or open another path.
//!
//! # Layout
//!
//! * [`tree`]: takes the machine's file tree away.
//! * [`filter`]: the filter of system calls.

mod filter;
mod tree;

use std::fmt;
use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, PathBeneath, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

pub(crate) use filter::{Error as FilterError, apply as apply_seccomp};

/// Open descriptors that the process may have, and so the numbers that they have.
const OPEN_FILES: u64 = 512;
/// More than the highest capability that any kernel has.
const CAPABILITIES: u32 = 64;

/// A restriction that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The kernel refuses a limit.
    #[error("the process cannot be restricted")]
    Process(#[from] io::Error),
    /// The kernel refuses to restrict files.
    #[error("landlock cannot be applied")]
    Landlock(#[from] RulesetError),
}

/// What this machine lets a process give up, where machines differ.
#[derive(Debug)]
pub(crate) struct Walls {
    landlock: RestrictionStatus,
    /// Why the machine's file tree is still there.
    tree: Result<(), Errno>,
}

impl Walls {
    /// Whether the kernel itself keeps the process from files that it was not granted.
    ///
    /// Landlock forbids to open them. Before its third version it lets a process empty a file that it may
    /// read; then the file tree must be one of the process's own, which is read-only. What later versions
    /// forbid, the filter of system calls forbids as well.
    pub(crate) fn hold(&self) -> bool {
        let landlock = self.landlock.ruleset != RulesetStatus::NotEnforced;
        landlock && (self.version() >= 3 || self.tree.is_ok())
    }

    /// The version of landlock; 0 is none.
    fn version(&self) -> i32 {
        match self.landlock.landlock {
            LandlockStatus::Available { effective_abi, kernel_abi } => {
                kernel_abi.unwrap_or(effective_abi as i32)
            }
            _ => 0,
        }
    }
}

impl fmt::Display for Walls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version() {
            0 => write!(f, "landlock: none")?,
            version => write!(f, "landlock: version {version}")?,
        }
        match self.tree {
            Ok(()) => write!(f, "; own file tree: yes"),
            Err(errno) => write!(f, "; own file tree: no ({errno})"),
        }
    }
}

/// Closes every descriptor but 0 to 3, whatever the parent left open.
pub(crate) fn close_inherited_fds() {
    #[expect(unsafe_code, reason = "closing by number, before anything here owns a descriptor")]
    // SAFETY: called first in `main`.
    unsafe {
        libc::syscall(libc::SYS_close_range, 4_u32, u32::MAX, 0_u32);
    }
}

/// What threads inherit: resource limits, no privileges, and of the file system only what is below
/// `granted`, to be read. To be called while the process has one thread.
pub(crate) fn restrict_process<'fd>(
    granted: impl Iterator<Item = BorrowedFd<'fd>>,
) -> Result<Walls, Error> {
    let granted: Vec<_> = granted.collect();
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Memlock, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(io::Error::from)?;
    }
    let tree = tree::leave(&granted);
    drop_capabilities().map_err(io::Error::from)?;
    rustix::thread::set_no_new_privs(true).map_err(io::Error::from)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from)?;
    Ok(Walls { landlock: restrict_files(&granted)?, tree })
}

/// Gives up every capability, also those that a program could get back.
fn drop_capabilities() -> rustix::io::Result<()> {
    for number in 0..CAPABILITIES {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Beyond the last one.
            Err(Errno::INVAL) => break,
            // The user has none to give up.
            Err(Errno::PERM) => break,
            done => done?,
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets)
}

/// Forbids all that this kernel's landlock can forbid; on a kernel without it, nothing.
fn restrict_files(granted: &[BorrowedFd<'_>]) -> Result<RestrictionStatus, RulesetError> {
    const NEWEST: ABI = ABI::V6;
    let rules = granted
        .iter()
        .map(|dir| Ok::<_, RulesetError>(PathBeneath::new(dir, AccessFs::from_read(NEWEST))));
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(rules)?
        .restrict_self()
}
