//! Junk for the port that workers connect to: every connection is closed, and calls go on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belljar_tests::Service;

use crate::{Random, Row};

/// Connections at once.
const CONNECTIONS: usize = 24;
/// How long one may stay open: a handshake and the time to be let in, with room for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);
/// Whether nothing is sent, so that only a timer can close the connection: one of so many.
const SILENT: usize = 8;

/// Attacks the dispatcher of a service in push or pull mode.
pub(crate) fn run(service: &Service, random: &mut Random, row: &mut Row) -> Result<()> {
    let worker = service.process("worker")?.command;
    let (_, address) = worker.split_once("tcp://").context("a worker has an address")?;
    let address = address.split(' ').next().unwrap_or(address);
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = TcpStream::connect(address).context("the dispatcher is gone")?;
        connection.set_read_timeout(Some(CLOSED_WITHIN))?;
        let (name, bytes) = junk(random);
        // It may be closed already.
        let _ = connection.write_all(&bytes);
        connections.push((name, connection));
    }
    for (name, mut connection) in connections {
        row.tries += 1;
        let mut answer = Vec::new();
        match connection.read_to_end(&mut answer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                row.got_through.push(format!("{name}: open after {CLOSED_WITHIN:?}"));
            }
            // Closed, or reset.
            _ => {}
        }
    }
    let (status, reply) = service.client.get("/readyz")?;
    ensure!(status == 200, "{status}: {reply}");
    Ok(())
}

fn junk(random: &mut Random) -> (&'static str, Vec<u8>) {
    let length = 1 + random.below(2000);
    let noise = random.bytes(length);
    let greeted = |rest: &[u8]| [&greeting()[..], rest].concat();
    let ready = || greeted(&ready());
    match random.below(SILENT) {
        0 => ("silence", Vec::new()),
        1 => ("noise", noise),
        2 => ("a cut greeting", greeting()[..random.below(64)].to_vec()),
        3 => ("a greeting and noise", greeted(&noise)),
        4 => ("an endless frame", [ready(), vec![2, 0x3f], vec![0xff; 7]].concat()),
        5 => ("a frame of noise", {
            let noise = &noise[..noise.len().min(255)];
            [ready(), vec![0, noise.len() as u8], noise.to_vec()].concat()
        }),
        6 => ("a request of another protocol", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        _ => ("deep nesting", [ready(), vec![0, 200], vec![0x91; 200]].concat()),
    }
}

/// The greeting of ZMTP 3.0 with the NULL mechanism.
fn greeting() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[0] = 0xff;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[12..16].copy_from_slice(b"NULL");
    bytes
}

/// The command READY of a DEALER.
fn ready() -> Vec<u8> {
    let body = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER";
    [&[4, body.len() as u8][..], body].concat()
}
