//! `/dev/progress`, the device on which a call says how far it has come: the JSON of `[done, total, note]` in one write.

use std::sync::Arc;

use belljar_core::live::Progress;

use super::errno::Errno;
use crate::grants::ProgressChannel;

/// The longest write: a note of characters that JSON escapes, and two numbers.
const WRITE_BYTES: usize = 4 << 10;

/// Tells who listens what was written.
pub(super) fn write(channel: &Arc<dyn ProgressChannel>, data: &[u8]) -> Result<usize, Errno> {
    if data.len() > WRITE_BYTES {
        return Err(Errno::FBIG);
    }
    let (done, total, note) = serde_json::from_slice(data).map_err(|_| Errno::INVAL)?;
    channel.tell(Progress::new(done, total, note).ok_or(Errno::INVAL)?);
    Ok(data.len())
}
