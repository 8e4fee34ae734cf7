//! Makes system calls in another process, as code that took it over would: stops a thread where it waits in a
//! call, puts another call in its place, and reads what comes back.
//!
//! # Layout
//!
//! * [`attacks`]: makes the calls that a process of the sandbox must be refused.
//! * `table`: which these are.

pub mod attacks;
mod table;

use std::io;
use std::time::{Duration, Instant};

/// How long a thread may take to wait in a system call.
const IDLE: Duration = Duration::from_secs(20);
/// The instruction `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// What the kernel has as the result of a call that it will start again: ERESTARTSYS and its like.
const INTERRUPTED: std::ops::RangeInclusive<i64> = -516..=-512;
/// What is put into the memory of the process is this far below its stack pointer.
const SCRATCH_BYTES: u64 = 16 << 10;

/// An argument of an injected call.
#[derive(Debug, Clone)]
pub enum Arg {
    /// A number.
    Number(i64),
    /// A page that the thread may write.
    Stack,
    /// A pointer to a copy of these bytes in the process, on which nothing else is.
    Bytes(Vec<u8>),
}

/// What became of an injected call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The call returned this: at least 0, or the negative of an error number.
    Returned(i64),
    /// The process is dead.
    Died,
}

/// A thread that is stopped, for calls to be made in it. Goes on when this is dropped.
#[derive(Debug)]
pub struct Injector {
    thread: i32,
    registers: libc::user_regs_struct,
    is_alive: bool,
}

impl Injector {
    /// Stops the thread of `pid` that runs guests, once it waits for its parent.
    ///
    /// # Errors
    /// The kernel does not permit it, or the thread never waits.
    pub fn stop(pid: i32) -> io::Result<Self> {
        let mut threads = std::fs::read_dir(format!("/proc/{pid}/task"))?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let thread = threads.find(|thread| *thread != pid).unwrap_or(pid);
        request(libc::PTRACE_SEIZE, thread, 0, 0)?;
        let start = Instant::now();
        loop {
            request(libc::PTRACE_INTERRUPT, thread, 0, 0)?;
            if wait(thread)?.is_none() {
                return Err(io::Error::other("the process ended"));
            }
            let registers = registers(thread)?;
            // A call that was interrupted, for the kernel to start again: the thread stands behind the instruction.
            if INTERRUPTED.contains(&registers.rax.cast_signed()) {
                let instruction = peek(thread, registers.rip - 2)?.to_ne_bytes();
                if instruction.starts_with(&SYSCALL) {
                    return Ok(Self { thread, registers, is_alive: true });
                }
            }
            if start.elapsed() > IDLE {
                return Err(io::Error::other("the thread does not wait in a system call"));
            }
            request(libc::PTRACE_CONT, thread, 0, 0)?;
            std::thread::yield_now();
        }
    }

    /// Makes the call `number`.
    ///
    /// # Errors
    /// The thread cannot be controlled any more.
    pub fn call(&mut self, number: i64, args: &[Arg]) -> io::Result<Answer> {
        if !self.is_alive {
            return Ok(Answer::Died);
        }
        let mut place = (self.registers.rsp - SCRATCH_BYTES) & !15;
        let mut values = [0; 6];
        for (value, arg) in values.iter_mut().zip(args) {
            *value = match arg {
                Arg::Number(number) => number.cast_unsigned(),
                Arg::Stack => (self.registers.rsp - 4 * SCRATCH_BYTES) & !4095,
                Arg::Bytes(bytes) => {
                    let at = place;
                    for word in bytes.chunks(8) {
                        let mut padded = [0; 8];
                        padded[..word.len()].copy_from_slice(word);
                        poke(self.thread, place, i64::from_ne_bytes(padded))?;
                        place += 8;
                    }
                    at
                }
            };
        }
        let [rdi, rsi, rdx, r10, r8, r9] = values;
        let call = libc::user_regs_struct {
            rip: self.registers.rip - 2,
            rax: number.cast_unsigned(),
            // So that the kernel starts no interrupted call again.
            orig_rax: u64::MAX,
            rdi,
            rsi,
            rdx,
            r10,
            r8,
            r9,
            ..self.registers
        };
        set_registers(self.thread, &call)?;
        request(libc::PTRACE_SINGLESTEP, self.thread, 0, 0)?;
        if wait(self.thread)?.is_none() {
            self.is_alive = false;
            return Ok(Answer::Died);
        }
        Ok(Answer::Returned(registers(self.thread)?.rax.cast_signed()))
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        if self.is_alive {
            // The call that it waited in, anew.
            let (rip, rax) = (self.registers.rip - 2, self.registers.orig_rax);
            let again = libc::user_regs_struct { rip, rax, orig_rax: u64::MAX, ..self.registers };
            let _ = set_registers(self.thread, &again);
            let _ = request(libc::PTRACE_DETACH, self.thread, 0, 0);
        }
    }
}

/// Waits for the thread to stop; `None` where it has ended.
fn wait(thread: i32) -> io::Result<Option<i32>> {
    let mut status = 0;
    #[expect(unsafe_code, reason = "waits for a thread that is no child")]
    // SAFETY: the pointer is to a local.
    let waited = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) };
    match waited {
        -1 => Err(io::Error::last_os_error()),
        _ if libc::WIFSTOPPED(status) => Ok(Some(status)),
        _ => Ok(None),
    }
}

fn request(request: libc::c_uint, thread: i32, address: u64, data: u64) -> io::Result<i64> {
    #[expect(unsafe_code, reason = "ptrace has no wrapper")]
    // SAFETY: the kernel checks the thread; addresses are in its memory, or of registers of this one's.
    let result = unsafe { libc::ptrace(request, thread, address, data) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn registers(thread: i32) -> io::Result<libc::user_regs_struct> {
    #[expect(unsafe_code, reason = "plain data that the call fills")]
    // SAFETY: numbers, for which zero is a value.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    request(libc::PTRACE_GETREGS, thread, 0, &raw mut registers as u64)?;
    Ok(registers)
}

fn set_registers(thread: i32, registers: &libc::user_regs_struct) -> io::Result<()> {
    request(libc::PTRACE_SETREGS, thread, 0, &raw const *registers as u64).map(drop)
}

/// The word at an address. A word of only ones is an error here: no instruction is.
fn peek(thread: i32, address: u64) -> io::Result<i64> {
    request(libc::PTRACE_PEEKDATA, thread, address, 0)
}

fn poke(thread: i32, address: u64, word: i64) -> io::Result<()> {
    request(libc::PTRACE_POKEDATA, thread, address, word.cast_unsigned()).map(drop)
}
