//! `/dev/http`, the device through which a call that was granted HTTP requests asks for them. There is no socket
//! behind it: what is written goes to the process's parent as it is, and what comes back can be read.

use std::io;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::errno::Errno;
use crate::grants::HttpChannel;

/// The device of one instance.
#[derive(Debug)]
pub(crate) struct HttpDevice {
    channel: Arc<dyn HttpChannel>,
    /// What is left to read of the last answer.
    answer: Bytes,
}

impl HttpDevice {
    pub(crate) fn new(channel: Arc<dyn HttpChannel>) -> Self {
        Self { channel, answer: Bytes::new() }
    }

    /// Makes the request in `data`; its answer takes the place of the last one.
    pub(super) fn write(&mut self, data: &[u8]) -> Result<usize, Errno> {
        self.answer = Bytes::new();
        self.answer = self.channel.exchange(data).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => Errno::FBIG,
            _ => Errno::IO,
        })?;
        Ok(data.len())
    }

    /// Reads on in the answer.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let length = buffer.len().min(self.answer.len());
        self.answer.copy_to_slice(&mut buffer[..length]);
        length
    }
}
