//! Sessions: calls that go on where the one before has ended.
//!
//! What a call of a session has left travels in front of the arguments of the next, and comes back among the files
//! that this leaves. Only the store and the child that runs the call look at it.

use bytes::Bytes;

use crate::files::CallFile;

/// What stands in front of a state and arguments: no pickle begins so.
const MAGIC: &[u8] = b"\0session\0";
/// The name of a state among the files of a call: no file of a function has it.
const STATE: &str = "\0session";

/// The longest state, compressed as it is.
pub const MAX_STATE_BYTES: usize = 24 << 20;

/// A state, nothing for a session's first call, and the arguments `args`, in place of which it travels.
#[must_use]
pub fn envelope(state: &[u8], args: &[u8]) -> Bytes {
    #[expect(clippy::expect_used, reason = "states are bounded when they are kept")]
    let length = u32::try_from(state.len()).expect("a state that can travel");
    [MAGIC, &length.to_le_bytes(), state, args].concat().into()
}

/// What travels in place of arguments, taken apart: the state and the arguments; `None` where the call is of no session.
#[must_use]
pub fn open(args: &Bytes) -> Option<(Bytes, Bytes)> {
    let head = MAGIC.len() + 4;
    let length = args.strip_prefix(MAGIC)?.first_chunk::<4>()?;
    let end = head.checked_add(u32::from_le_bytes(*length) as usize)?;
    (end <= args.len()).then(|| (args.slice(head..end), args.slice(end..)))
}

/// Whether these are a state and arguments.
#[must_use]
pub fn is_envelope(args: &[u8]) -> bool {
    args.starts_with(MAGIC)
}

/// A state, as it stands among the files that a call has left.
#[must_use]
pub fn left(state: Bytes) -> CallFile {
    CallFile { name: STATE.to_owned(), bytes: state }
}

/// Whether a file that a call has left is a state.
#[must_use]
pub fn is_state(file: &CallFile) -> bool {
    file.name == STATE
}

/// Takes the state out of the files that a call has left.
#[must_use]
pub fn take(files: &mut Vec<CallFile>) -> Option<Bytes> {
    let at = files.iter().position(is_state)?;
    Some(files.swap_remove(at).bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;
    use crate::files::{CallFiles, check_name};

    #[test]
    fn an_envelope_holds_both() {
        let args = Bytes::from_static(b"\x80\x04N.");
        for state in [&b""[..], b"state"] {
            let envelope = envelope(state, &args);
            let (opened, rest) = open(&envelope).expect("an envelope");
            assert_eq!((&opened[..], &rest), (state, &args));
            assert!(!CallFiles::are_in(&envelope) && !args::is_list(&envelope));
            assert!(is_envelope(&envelope) && !is_envelope(&args));
            assert_eq!(open(&envelope.slice(..MAGIC.len() + state.len())), None);
        }
        assert_eq!(open(&args), None);
    }

    #[test]
    fn a_state_is_no_file_of_a_function() {
        assert!(check_name(STATE).is_err());
        let file = CallFile { name: "a".into(), bytes: Bytes::new() };
        let mut files = vec![file.clone(), left(Bytes::from_static(b"state")), file];
        assert_eq!(take(&mut files).as_deref(), Some(&b"state"[..]));
        assert_eq!((files.len(), take(&mut files)), (2, None));
    }
}
