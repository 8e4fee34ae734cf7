//! The error numbers of WASI.

use rustix::io::Errno as Host;

/// An error number of `wasi_snapshot_preview1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(u16);

impl Errno {
    pub(crate) const ACCES: Self = Self(2);
    pub(crate) const AGAIN: Self = Self(6);
    pub(crate) const BADF: Self = Self(8);
    pub(crate) const BUSY: Self = Self(10);
    pub(crate) const EXIST: Self = Self(20);
    pub(crate) const FAULT: Self = Self(21);
    pub(crate) const FBIG: Self = Self(22);
    pub(crate) const ILSEQ: Self = Self(25);
    pub(crate) const INVAL: Self = Self(28);
    pub(crate) const IO: Self = Self(29);
    pub(crate) const ISDIR: Self = Self(31);
    pub(crate) const LOOP: Self = Self(32);
    pub(crate) const MFILE: Self = Self(33);
    pub(crate) const NAMETOOLONG: Self = Self(37);
    pub(crate) const NOENT: Self = Self(44);
    pub(crate) const NOSPC: Self = Self(51);
    pub(crate) const NOTDIR: Self = Self(54);
    pub(crate) const NOTEMPTY: Self = Self(55);
    pub(crate) const NOTSOCK: Self = Self(57);
    pub(crate) const NOTSUP: Self = Self(58);
    pub(crate) const PIPE: Self = Self(64);
    pub(crate) const SPIPE: Self = Self(70);

    /// What a guest function returns.
    pub(crate) fn code(result: Result<(), Self>) -> i32 {
        result.err().map_or(0, |errno| i32::from(errno.0))
    }

    /// Itself, as the guest's memory holds it.
    pub(crate) const fn to_le_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }
}

impl From<Host> for Errno {
    fn from(host: Host) -> Self {
        match host {
            Host::AGAIN => Self::AGAIN,
            Host::NOENT => Self::NOENT,
            Host::NOTDIR => Self::NOTDIR,
            Host::ISDIR => Self::ISDIR,
            Host::LOOP => Self::LOOP,
            Host::NAMETOOLONG => Self::NAMETOOLONG,
            Host::INVAL => Self::INVAL,
            Host::BADF => Self::BADF,
            Host::MFILE | Host::NFILE => Self::MFILE,
            Host::PIPE => Self::PIPE,
            Host::SPIPE => Self::SPIPE,
            // EXDEV is the kernel's word for a path that leads out of the granted directory.
            Host::XDEV | Host::ACCESS | Host::PERM | Host::ROFS => Self::ACCES,
            _ => Self::IO,
        }
    }
}
