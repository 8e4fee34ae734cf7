//! The code of functions that the dispatcher has sent, so that it is not sent again.

use std::collections::{HashMap, VecDeque};

use belljar_core::limits::CODE_CACHE_BYTES;
use belljar_core::task::CodeHash;
use bytes::Bytes;

/// How many functions are kept.
const MOST_ENTRIES: usize = 4096;

/// Functions by their hash; the oldest are evicted first.
#[derive(Debug, Default)]
pub(crate) struct CodeCache {
    entries: HashMap<CodeHash, Bytes>,
    order: VecDeque<CodeHash>,
    bytes: usize,
}

impl CodeCache {
    pub(crate) fn get(&self, hash: &CodeHash) -> Option<Bytes> {
        self.entries.get(hash).cloned()
    }

    /// Keeps `code`; returns what was evicted for it.
    pub(crate) fn insert(&mut self, hash: CodeHash, code: Bytes) -> Vec<CodeHash> {
        let length = code.len();
        if self.entries.insert(hash, code).is_some() {
            return Vec::new();
        }
        self.order.push_back(hash);
        self.bytes += length;
        let mut evicted = Vec::new();
        while self.bytes > CODE_CACHE_BYTES || self.order.len() > MOST_ENTRIES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.entries.remove(&oldest).map_or(0, |code| code.len());
            evicted.push(oldest);
        }
        evicted
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_evicted_and_named() {
        let mut cache = CodeCache::default();
        let code = |n: usize| Bytes::from(vec![n as u8; 20 << 20]);
        let hashes: Vec<_> = (0..4).map(|n| CodeHash::of(&code(n))).collect();
        assert!((0..3).all(|n| cache.insert(hashes[n], code(n)).is_empty()));
        assert!(cache.insert(hashes[2], code(2)).is_empty());
        assert_eq!(cache.insert(hashes[3], code(3)), [hashes[0]]);
        assert!(cache.get(&hashes[0]).is_none() && cache.get(&hashes[3]).is_some());
        let large = Bytes::from(vec![9; CODE_CACHE_BYTES + 1]);
        assert_eq!(cache.insert(CodeHash::of(b"large"), large).len(), 4);
        assert_eq!((cache.bytes, cache.entries.len()), (0, 0));
    }
}
