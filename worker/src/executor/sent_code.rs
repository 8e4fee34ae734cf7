//! The functions that a child has, so that each is sent once.

use std::collections::HashSet;

use belljar_core::invocation::Invocation;
use belljar_core::limits::CODE_CACHE_BYTES;
use belljar_core::task::CodeHash;

/// A child that has been sent this many functions is told to forget them.
const REMEMBERED_FUNCTIONS: usize = 512;

/// The functions that the child has been sent.
#[derive(Debug, Default)]
pub(super) struct SentCode {
    hashes: HashSet<CodeHash>,
    bytes: usize,
}

impl SentCode {
    /// An invocation with the function's bytes where the child lacks them, and whether the child first evicts
    /// all that it has.
    pub(super) fn add(&mut self, invocation: &Invocation) -> (Invocation, bool) {
        let hash = invocation.spec.code;
        if self.hashes.contains(&hash) {
            return (invocation.clone().without_code(), false);
        }
        let code_bytes = invocation.code_bytes();
        let evict = !self.hashes.is_empty()
            && (self.hashes.len() >= REMEMBERED_FUNCTIONS
                || self.bytes + code_bytes > CODE_CACHE_BYTES);
        if evict {
            *self = Self::default();
        }
        self.hashes.insert(hash);
        self.bytes += code_bytes;
        (invocation.clone(), evict)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn code_is_sent_once_until_it_is_forgotten() {
        let class = "native:3.11".parse().expect("a class");
        let invocation =
            |code| Invocation::standalone(class, Bytes::from_static(code), Bytes::new());
        let mut sent = SentCode::default();
        assert!(sent.add(&invocation(b"a")).0.code.is_some());
        assert!(sent.add(&invocation(b"a")).0.code.is_none());
        sent.bytes = CODE_CACHE_BYTES;
        let (added, evict) = sent.add(&invocation(b"b"));
        assert!(evict && added.code.is_some());
        assert!(sent.add(&invocation(b"a")).0.code.is_some());
    }
}
