//! Sentinels, which promote a replica of a server that dies.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::process::eventually;
use crate::program::Program;
use crate::redis::{free_port, server};

/// How many there are: two of them agree.
const COUNT: usize = 3;
/// How long they may take to know everything.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Three sentinels. Dropping them kills them.
#[derive(Debug)]
pub struct Sentinels {
    programs: Vec<Program>,
    ports: Vec<u16>,
    _dir: TempDir,
}

impl Sentinels {
    /// The name by which they know the primary.
    pub const NAME: &str = "main";

    /// Starts them for a primary and a replica at these ports of this machine, and waits until they know each other and both
    /// servers. A server that is silent for one and a half seconds counts as dead.
    ///
    /// # Errors
    /// They do not start, or do not find the servers.
    pub fn start(primary: u16, replica: u16) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let ports: Vec<u16> = (0..COUNT).map(|_| free_port()).collect::<Result<_>>()?;
        let mut programs = Vec::new();
        for (number, port) in ports.iter().enumerate() {
            let file = dir.path().join(format!("{number}.conf"));
            std::fs::write(&file, configuration(number, &ports, primary, replica)?)?;
            let argv = vec![server(), file.into(), "--sentinel".into()];
            let log = dir.path().join(format!("{port}.log"));
            programs.push(Program::start(argv, Vec::new(), Some(log))?);
        }
        let sentinels = Self { programs, ports, _dir: dir };
        let ready =
            eventually(READY_TIMEOUT, || sentinels.ports.iter().all(|port| is_ready(*port)));
        ensure!(ready, "the sentinels do not find the servers: {:?}", sentinels.programs);
        Ok(sentinels)
    }

    /// Whether all of them name the server at this port as the primary, and no failover is going on. The first that a promoted
    /// replica hears is to be a primary, which is taken back if the rest of the failover takes too long.
    #[must_use]
    pub fn agree_on(&self, port: u16) -> bool {
        let named = format!("\r\nport\r\n${}\r\n{port}\r\n", port.to_string().len());
        self.ports.iter().all(|sentinel| {
            let told = tell(*sentinel, &format!("SENTINEL MASTER {}", Self::NAME));
            told.is_ok_and(|told| told.contains(&named) && !told.contains("failover_in_progress"))
        })
    }

    /// What `--redis` takes.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/{}", hosts.join(","), Self::NAME)
    }
}

fn configuration(number: usize, ports: &[u16], primary: u16, replica: u16) -> Result<String> {
    let name = Sentinels::NAME;
    let id = |number: usize| format!("{number:040x}");
    let mut text = format!(
        "port {}\nsentinel monitor {name} 127.0.0.1 {primary} 2\nsentinel down-after-milliseconds {name} 1500\n\
         sentinel failover-timeout {name} 3000\nsentinel known-replica {name} 127.0.0.1 {replica}\nsentinel myid {}\n",
        ports[number],
        id(number + 1)
    );
    for (other, port) in ports.iter().enumerate().filter(|(other, _)| *other != number) {
        writeln!(text, "sentinel known-sentinel {name} 127.0.0.1 {port} {}", id(other + 1))?;
    }
    Ok(text)
}

/// Whether the sentinel at a port reaches enough others and knows a replica that it could promote.
fn is_ready(port: u16) -> bool {
    let name = Sentinels::NAME;
    let agree = tell(port, &format!("SENTINEL CKQUORUM {name}")).unwrap_or_default();
    let replicas = tell(port, &format!("SENTINEL REPLICAS {name}")).unwrap_or_default();
    agree.starts_with("+OK 3 usable") && replicas.contains("master-link-status\r\n$2\r\nok")
}

fn tell(port: u16, command: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "{command}\r\n")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
