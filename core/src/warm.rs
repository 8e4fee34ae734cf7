//! Whether a sandboxed function starts warm, with its modules imported: what was asked for, and what came of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::word::InvalidWord;

/// Whether calls of a sandboxed function may start with its modules imported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WarmMode {
    /// Where that saves more than it costs.
    #[default]
    Auto,
    /// Where it is possible, whatever it saves.
    Always,
    /// In no case: each call imports what it needs.
    Never,
}

impl WarmMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Always, Self::Never];

    /// The word used in HTTP and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }

    /// Whether nothing else was asked for.
    #[must_use]
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

impl fmt::Display for WarmMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WarmMode {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| InvalidWord {
            what: "warm mode",
            text: text.to_owned(),
            expected: "auto, always or never",
        })
    }
}

/// How a sandboxed call started: with the modules of its function imported, or why without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmStart {
    /// The modules were imported.
    Warm,
    /// This call is the first in its process, or the files of the modules have changed.
    First,
    /// It is registered so.
    Never,
    /// The worker keeps no functions.
    Off,
    /// The call has variables, directories or files of its own.
    Granted,
    /// Its timeout leaves no time to make an image.
    Timeout,
    /// Unpickling and imports take less than an image of that size is worth.
    Cheap,
    /// The image has no room.
    TooLarge,
    /// The imports print.
    Prints,
    /// The imports read randomness.
    Random,
    /// The imports leave a file open, write one, or are refused one.
    Files,
    /// The imports fail, end the interpreter, or draw from a generator that each call has anew.
    Imports,
    /// The imports reach the memory limit.
    Memory,
    /// The imports look at more files than can be watched for changes.
    Sources,
}

impl WarmStart {
    /// Why a call started without its modules, for people; `None` for one that had them.
    #[must_use]
    pub const fn why_cold(self) -> Option<&'static str> {
        Some(match self {
            Self::Warm => return None,
            Self::First => {
                "the process has no image of the function yet: the next call there makes one"
            }
            Self::Never => "the function is registered with `warm` = `never`",
            Self::Off => "the worker keeps no functions warm (`--warm-mb 0`)",
            Self::Granted => "the call has variables, directories or files of its own",
            Self::Timeout => "the timeout leaves no time to make an image",
            Self::Cheap => "the imports take less time than an image of their size is worth",
            Self::TooLarge => {
                "the image takes more than a function may have of the worker's `--warm-mb`"
            }
            Self::Prints => "the imports print",
            Self::Random => "the imports read randomness",
            Self::Files => "the imports leave a file open, write one, or are refused one",
            Self::Imports => {
                "the imports fail, end the interpreter or draw from a random generator"
            }
            Self::Memory => "the imports reach the memory limit",
            Self::Sources => "the imports look at more files than can be watched for changes",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for mode in WarmMode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(mode));
        }
        assert!("hot".parse::<WarmMode>().is_err() && "".parse::<WarmMode>().is_err());
    }
}
