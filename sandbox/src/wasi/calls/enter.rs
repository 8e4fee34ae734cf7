//! The way from a host function into the instance that calls it.

use rustix::fs::FileType;
use wasmtime::Caller;

use crate::wasi::context::{Host, Wasi};
use crate::wasi::entry::Status;
use crate::wasi::errno::Errno;
use crate::wasi::guest::Bytes;

/// The module that the guest imports from.
pub(super) const MODULE: &str = "wasi_snapshot_preview1";

/// Runs `body` on the memory and the state of the calling instance.
pub(super) fn enter(
    caller: &mut Caller<'_, Host>,
    body: impl FnOnce(&mut Bytes<'_>, &mut Wasi) -> Result<(), Errno>,
) -> i32 {
    let Some(memory) = caller.data().memory else { return Errno::code(Err(Errno::FAULT)) };
    let (bytes, host) = memory.data_and_store_mut(caller);
    Errno::code(body(&mut Bytes(bytes), &mut host.wasi))
}

/// A file's kind as WASI writes it.
pub(super) const fn kind_code(kind: FileType) -> u8 {
    match kind {
        FileType::CharacterDevice => 2,
        FileType::Directory => 3,
        FileType::RegularFile => 4,
        FileType::Symlink => 7,
        _ => 0,
    }
}

/// Writes what is known about a file to the guest's memory at `to`.
pub(super) fn write_status(memory: &mut Bytes<'_>, to: u32, status: &Status) -> Result<(), Errno> {
    let mut bytes = [0; 64];
    let fields = [
        (0, status.device),
        (8, status.inode),
        (24, status.links),
        (32, status.size),
        (40, status.times.accessed),
        (48, status.times.modified),
        (56, status.times.changed),
    ];
    for (at, value) in fields {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes[16] = kind_code(status.kind);
    memory.write(to, &bytes)
}

/// Refuses bits beyond those of `known`.
pub(super) const fn flags(bits: u32, known: u32) -> Result<(), Errno> {
    if bits & !known == 0 { Ok(()) } else { Err(Errno::INVAL) }
}
