//! Pickles of builtin exceptions, for the failures that the platform itself finds.

/// A pickle (protocol 4) of `name(message)`, where `name` is an exception in `builtins`.
pub(crate) fn pickled(name: &str, message: &str) -> Vec<u8> {
    const PROTO_4: [u8; 2] = [0x80, 4];
    const STACK_GLOBAL: u8 = 0x93;
    const TUPLE1: u8 = 0x85;
    const REDUCE: u8 = b'R';
    const STOP: u8 = b'.';

    let mut pickle = PROTO_4.to_vec();
    push_text(&mut pickle, "builtins");
    push_text(&mut pickle, name);
    pickle.push(STACK_GLOBAL);
    push_text(&mut pickle, message);
    pickle.extend_from_slice(&[TUPLE1, REDUCE, STOP]);
    pickle
}

fn push_text(pickle: &mut Vec<u8>, text: &str) {
    const BINUNICODE8: u8 = 0x8d;
    pickle.push(BINUNICODE8);
    pickle.extend_from_slice(&(text.len() as u64).to_le_bytes());
    pickle.extend_from_slice(text.as_bytes());
}
