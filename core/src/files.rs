//! Files that go into a call and come out of it.
//!
//! They travel with the arguments: instead of their pickle, which never begins with a zero byte, an
//! [`CallFiles::envelope`] that holds both. Only the client's gateway and the child that runs the call look
//! inside.

use bytes::Bytes;
use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

/// The most files that one call may be given, and the most that it may leave.
pub const MAX_FILES: usize = 100;
/// The most patterns of one call.
pub const MAX_PATTERNS: usize = 100;
/// The longest name of a file and the longest pattern.
pub const MAX_NAME_BYTES: usize = 255;

/// What an envelope begins with: no pickle does.
const MAGIC: &[u8] = b"\0files\0";

/// A file of a call's working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFile {
    /// Its path in the working directory.
    pub name: String,
    /// What it holds.
    pub bytes: Bytes,
}

/// A file that a call has left: its content is kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path in the working directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// The files of a call, beside its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFiles {
    /// What the working directory holds when the call begins.
    pub inputs: Vec<CallFile>,
    /// Patterns of the files to keep when it has ended.
    pub outputs: Vec<String>,
}

/// A name that cannot be that of a file in the working directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is no path within the working directory: expected `NAME` or `DIR/NAME` of at most {MAX_NAME_BYTES} \
     bytes, without `.`, `..`, doubled or trailing slashes and control characters"
)]
pub struct InvalidName {
    name: String,
}

/// Whether `name` can be the path of a file in the working directory, or a pattern of such paths.
///
/// # Errors
/// It leads elsewhere, or is too long.
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    let leads_on = |part: &str| matches!(part, "" | "." | "..");
    if name.len() > MAX_NAME_BYTES
        || name.chars().any(char::is_control)
        || name.split('/').any(leads_on)
    {
        return Err(InvalidName { name: name.to_owned() });
    }
    Ok(())
}

/// A pattern that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// It leads out of the working directory, or is too long.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Its brackets or stars do not fit together.
    #[error("`{pattern}` is no pattern: {why}, at character {at}")]
    Form {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        why: &'static str,
        /// Where.
        at: usize,
    },
}

/// Which files of the working directory are kept. `*` and `?` stand for anything but a slash, `**` for directories.
#[derive(Debug)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Reads patterns.
    ///
    /// # Errors
    /// The first that means nothing.
    pub fn read(texts: &[String]) -> Result<Self, InvalidPattern> {
        let read = |text: &String| {
            check_name(text)?;
            Pattern::new(text).map_err(|error| InvalidPattern::Form {
                pattern: text.clone(),
                why: error.msg,
                at: error.pos,
            })
        };
        texts.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the file `name` is to be kept.
    #[must_use]
    pub fn fit(&self, name: &str) -> bool {
        const OPTIONS: MatchOptions = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        self.0.iter().any(|pattern| pattern.matches_with(name, OPTIONS))
    }
}

impl CallFiles {
    /// Whether there is nothing to put down and nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.outputs.is_empty()
    }

    /// These files and the pickled arguments `args`, in place of which it travels. Without files, that is `args`.
    #[must_use]
    pub fn envelope(&self, args: Bytes) -> Bytes {
        if self.is_empty() {
            return args;
        }
        let mut envelope = MAGIC.to_vec();
        #[expect(clippy::expect_used, reason = "our own types into memory")]
        rmp_serde::encode::write(&mut envelope, &(self, &args)).expect("files are serializable");
        envelope.into()
    }

    /// What stands before arguments of so many bytes in their envelope; nothing without files.
    ///
    /// # Panics
    /// The arguments are longer than any that can travel.
    #[must_use]
    pub fn envelope_head(&self, args_bytes: u64) -> Vec<u8> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut head = MAGIC.to_vec();
        #[expect(clippy::expect_used, reason = "our own types into memory")]
        rmp_serde::encode::write(&mut head, &(self, &Bytes::new()))
            .expect("files are serializable");
        // In place of the length of none: one byte that says that one follows, and that.
        head.truncate(head.len() - 2);
        head.push(0xc6);
        #[expect(clippy::expect_used, reason = "arguments are bounded before")]
        let length = u32::try_from(args_bytes).expect("arguments that can travel");
        head.extend_from_slice(&length.to_be_bytes());
        head
    }

    /// What travels in place of arguments, taken apart again: the pickle, and the files if there are any.
    ///
    /// # Errors
    /// It begins as an envelope and is none.
    pub fn open(args: &Bytes) -> Result<(Option<Self>, Bytes), rmp_serde::decode::Error> {
        let Some(envelope) = args.strip_prefix(MAGIC) else { return Ok((None, args.clone())) };
        let (files, args): (Self, Bytes) = rmp_serde::from_slice(envelope)?;
        Ok((Some(files), args))
    }

    /// Whether `args` are an envelope.
    #[must_use]
    pub fn are_in(args: &[u8]) -> bool {
        args.starts_with(MAGIC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_holds_both() {
        let args = Bytes::from_static(b"\x80\x04N.");
        let file = CallFile { name: "a/b".into(), bytes: Bytes::from_static(b"\0\xff") };
        let files = CallFiles { inputs: vec![file], outputs: vec!["*.png".into()] };
        let envelope = files.envelope(args.clone());
        assert!(CallFiles::are_in(&envelope) && !CallFiles::are_in(&args));
        assert_eq!(CallFiles::open(&envelope).expect("whole"), (Some(files.clone()), args.clone()));
        assert!(CallFiles::open(&envelope.slice(..envelope.len() - 1)).is_err());
        assert_eq!(CallFiles::default().envelope(args.clone()), args);
        let joined = Bytes::from([&files.envelope_head(args.len() as u64), &args[..]].concat());
        assert_eq!(CallFiles::open(&joined).expect("whole"), (Some(files), args.clone()));
        assert_eq!(CallFiles::default().envelope_head(5), b"");
        assert_eq!(CallFiles::open(&args).expect("a pickle"), (None, args));
    }

    #[test]
    fn patterns_keep_what_they_fit() {
        let patterns = |texts: &[&str]| {
            Patterns::read(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        let read = patterns(&["*.png", "out/**/*.csv", "a?[bc]"]).expect("patterns");
        for (name, fits) in [
            ("plot.png", true),
            ("out/plot.png", false),
            ("out/a.csv", true),
            ("out/b/c/a.csv", true),
            ("a.csv", false),
            ("axc", true),
            ("PLOT.PNG", false),
            (".png", true),
        ] {
            assert_eq!(read.fit(name), fits, "{name}");
        }
        for wrong in ["[", "a/***", "../*", "/tmp/*", ""] {
            assert!(patterns(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_stay_in_the_directory() {
        for name in ["a", "a/b.csv", "..a", "a..b", "ä", "*.png", "**/*.csv", "a\\b"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let long = "n".repeat(MAX_NAME_BYTES + 1);
        for name in ["", "/a", "a/", "a//b", "..", "../a", "a/../b", "./a", "a\0", "a\nb", &long] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
