//! The files that a call leaves, as far as they are wanted.

use bytes::Bytes;

use crate::files::{CallFile, MAX_FILES, Patterns, check_name};
use crate::outcome::{Failure, FailureKind};

/// The files that a call leaves, while they are collected.
#[derive(Debug)]
pub struct Collection {
    patterns: Patterns,
    files: Vec<CallFile>,
    bytes: u64,
    max_bytes: u64,
}

impl Collection {
    /// Nothing yet, and at most `max_bytes` of what fits `patterns`.
    #[must_use]
    pub const fn new(patterns: Patterns, max_bytes: u64) -> Self {
        Self { patterns, files: Vec::new(), bytes: 0, max_bytes }
    }

    /// Takes a file of `bytes` bytes, which `read` reads, if it fits a pattern.
    ///
    /// # Errors
    /// There are too many, or they are too large: why the call fails.
    pub fn offer<E: std::fmt::Display>(
        &mut self,
        name: &str,
        bytes: u64,
        read: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<(), Failure> {
        if !self.patterns.fit(name) {
            return Ok(());
        }
        let limit = |text: String| Failure::by_platform(FailureKind::Limit, text);
        check_name(name).map_err(|error| limit(format!("a file cannot be kept: {error}")))?;
        if self.files.len() == MAX_FILES {
            let text = format!("the call leaves more than {MAX_FILES} files that fit `outputs`");
            return Err(limit(format!("{text}\nhint: put them into one, such as a zip file")));
        }
        self.bytes += bytes;
        if self.bytes > self.max_bytes {
            let (left, most) = (self.bytes, self.max_bytes >> 20);
            return Err(limit(format!(
                "the files that the call leaves have {left} bytes or more, and the limit is {most} MiB\nhint: leave \
                 less at once; the operator sets the limit by --max-result-mb"
            )));
        }
        let bytes = read().map_err(|error| limit(format!("`{name}` cannot be read: {error}")))?;
        self.files.push(CallFile { name: name.to_owned(), bytes });
        Ok(())
    }

    /// The files, by name.
    #[must_use]
    pub fn finish(mut self) -> Vec<CallFile> {
        self.files.sort_by(|one, other| one.name.cmp(&other.name));
        self.files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_bounded() {
        let all = || Patterns::read(&["**".to_owned()]).expect("a pattern");
        let content = || Ok::<_, String>(Bytes::from_static(b"four"));
        let mut few = Collection::new(all(), 8);
        few.offer("b", 4, content).expect("room");
        few.offer("a", 4, content).expect("room");
        let failure = few.offer("c", 1, content).expect_err("no room");
        assert_eq!(failure.kind, FailureKind::Limit);
        assert_eq!(few.finish().iter().map(|file| &*file.name).collect::<Vec<_>>(), ["a", "b"]);
        let mut many = Collection::new(all(), u64::MAX);
        for n in 0..MAX_FILES {
            many.offer(&n.to_string(), 4, content).expect("not too many");
        }
        assert!(many.offer("one more", 4, content).is_err());
        let mut none = Collection::new(Patterns::read(&[]).expect("none"), 0);
        none.offer("a", 4, || Err("not read")).expect("not read");
        assert!(none.finish().is_empty());
    }
}
