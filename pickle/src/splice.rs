//! Puts values in place of the persistent ids of a pickle, so that it is whole and any unpickler reads it.
//!
//! Nothing is read of the values: where an id stood on the stack, the bytes of the value are pushed instead, and loaded there
//! where they are a pickle. So it is known beforehand what stands around them, and they may be elsewhere until the call.

use crate::inspection::Reference;
use crate::opcode as op;

/// What is put in place of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splice {
    /// So many bytes, as they are.
    Bytes(u64),
    /// What a pickle of so many bytes loads to, by the function `loads` of the runner.
    Pickle(u64),
}

/// The runner's, which knows what function and arguments share.
const LOADS: &[u8] = b"crunner_pickles\nloads\n";
/// What a frame's opcode takes: itself and the length behind it.
const FRAME_BYTES: usize = 9;

/// What stands before, between and behind the values that are put in place of `references`, one more than these. `values` says for
/// each what it is.
///
/// # Panics
/// There is not one value for each reference.
#[must_use]
pub fn spliced(data: &[u8], references: &[Reference], values: &[Splice]) -> Vec<Vec<u8>> {
    assert_eq!(references.len(), values.len(), "a value for each reference");
    let mut pieces = Vec::with_capacity(references.len() + 1);
    let (mut piece, mut from) = (Vec::new(), 0);
    for (reference, value) in references.iter().zip(values) {
        // A frame would end too early. None is needed.
        if let Some(frame) = reference.frame.filter(|frame| *frame >= from) {
            piece.extend_from_slice(&data[from..frame]);
            from = frame + FRAME_BYTES;
        }
        piece.extend_from_slice(&data[from..reference.at]);
        from = reference.at + 1;
        piece.push(op::POP);
        let (Splice::Bytes(length) | Splice::Pickle(length)) = *value;
        if matches!(value, Splice::Pickle(_)) {
            piece.extend_from_slice(LOADS);
        }
        piece.push(op::BINBYTES8);
        piece.extend_from_slice(&length.to_le_bytes());
        pieces.push(std::mem::take(&mut piece));
        if matches!(value, Splice::Pickle(_)) {
            piece.extend_from_slice(&[op::TUPLE1, op::REDUCE]);
        }
    }
    piece.extend_from_slice(&data[from..]);
    pieces.push(piece);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{inspect, inspect_referring};

    /// `pickle.dumps((ref, ref), 4)` by a pickler with persistent ids: the second id is fetched from the memo.
    const PAIR: &[u8] = b"\x80\x04\x95\x0d\0\0\0\0\0\0\0\x8c\x03b:1\x94Qh\0Q\x86\x94.";

    #[test]
    fn what_is_put_together_is_a_pickle_without_references() {
        let (_, references) = inspect_referring(PAIR).expect("a pickle");
        let ids: Vec<_> = references.iter().map(|one| (one.at, &*one.id)).collect();
        assert_eq!(ids, [(17, "b:1"), (20, "b:1")]);
        assert!(references.iter().all(|one| one.frame == Some(2)));
        let value = b"\x80\x04N.";
        let length = value.len() as u64;
        let pieces = spliced(PAIR, &references, &[Splice::Pickle(length), Splice::Bytes(length)]);
        let [first, second, third] = &*pieces else { panic!("{pieces:?}") };
        let whole = [&first[..], value, second, value, third].concat();
        assert!(inspect(&whole).is_ok(), "{whole:02x?}");
        let loaded = b"0crunner_pickles\nloads\n\x8e\x04\0\0\0\0\0\0\0\x80\x04N.\x85Rh\0";
        assert!(whole.windows(loaded.len()).any(|part| part == loaded), "{whole:02x?}");
        assert!(!whole.contains(&0x95), "without a frame");
    }

    #[test]
    fn ids_that_do_not_stand_in_the_pickle_are_refused() {
        for (data, word) in [
            (&b"\x80\x04K\x01Q."[..], "persistent id"),
            (b"Pid\n.", "persistent id"),
            (b"\x80\x04Q.", "needs 1"),
        ] {
            let error = inspect_referring(data).expect_err("refused").to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(inspect(PAIR).is_err(), "elsewhere there are none");
    }
}
