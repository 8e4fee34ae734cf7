//! Where a guest's standard output and standard error go.

use super::errno::Errno;

/// What becomes of what a function prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// It goes to this process's own standard output and standard error.
    #[default]
    Inherit,
    /// It is kept for [`Answer`](crate::Answer), each stream up to so many bytes.
    Capture(usize),
}

/// What a call wrote to one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// The first bytes of it, as many as were to be kept.
    pub bytes: Vec<u8>,
    /// How many bytes there were in all.
    pub total_bytes: u64,
}

/// The two streams of one instance.
#[derive(Debug)]
pub(crate) struct Sinks {
    output: Output,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
}

impl Sinks {
    pub(crate) fn new(output: Output) -> Self {
        Self { output, stdout: Captured::default(), stderr: Captured::default() }
    }

    /// Takes what the guest writes to `stream`, 1 or 2.
    pub(crate) fn write(&mut self, stream: u8, bytes: &[u8]) -> Result<usize, Errno> {
        match self.output {
            Output::Inherit if stream == 1 => {
                Ok(rustix::io::write(rustix::stdio::stdout(), bytes)?)
            }
            Output::Inherit => Ok(rustix::io::write(rustix::stdio::stderr(), bytes)?),
            Output::Capture(limit) => {
                let sink = if stream == 1 { &mut self.stdout } else { &mut self.stderr };
                let room = limit.saturating_sub(sink.bytes.len()).min(bytes.len());
                sink.bytes.extend_from_slice(&bytes[..room]);
                sink.total_bytes += bytes.len() as u64;
                Ok(bytes.len())
            }
        }
    }
}
