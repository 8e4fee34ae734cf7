//! Labels: what a worker has, such as a kind of GPU or a region, and what a function asks for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most bytes that labels have together, as `KEY=VALUE,KEY=VALUE`: they are part of the name of a queue.
pub const MAX_LABELS_BYTES: usize = 95;

/// A set of labels, each a key and a value. Small enough to be copied with every task's class.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Labels {
    length: u8,
    /// `KEY=VALUE,KEY=VALUE`, sorted.
    text: [u8; MAX_LABELS_BYTES],
}

/// Why a text names no labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabels {
    /// One is no pair.
    #[error("`{0}` is no label: give KEY=VALUE, of letters, digits, `-`, `_` and `.`")]
    Form(String),
    /// A key has two values.
    #[error("the label `{0}` is given twice")]
    Twice(String),
    /// They are too long.
    #[error("labels have {0} bytes together, and at most {MAX_LABELS_BYTES} are allowed")]
    TooLong(usize),
}

impl Labels {
    /// None.
    pub const NONE: Self = Self { length: 0, text: [0; MAX_LABELS_BYTES] };

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// They as `KEY=VALUE,KEY=VALUE`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.length.into()]).unwrap_or_default()
    }

    /// Each as `KEY=VALUE`.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.as_str().split(',').filter(|label| !label.is_empty())
    }

    /// Whether all of `wanted` are among these.
    #[must_use]
    pub fn contain(&self, wanted: &Self) -> bool {
        wanted.is_empty() || wanted.iter().all(|label| self.iter().any(|own| own == label))
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl FromStr for Labels {
    type Err = InvalidLabels;

    /// Reads `KEY=VALUE,KEY=VALUE`, in any order.
    fn from_str(text: &str) -> Result<Self, InvalidLabels> {
        let is_word = |word: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !word.is_empty() && word.chars().all(fits)
        };
        let mut labels = Vec::new();
        for label in text.split(',').filter(|_| !text.is_empty()) {
            let pair = label.split_once('=').filter(|(key, value)| is_word(key) && is_word(value));
            labels.push(pair.ok_or_else(|| InvalidLabels::Form(label.to_owned()))?);
        }
        labels.sort_unstable();
        if let Some(pair) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(InvalidLabels::Twice(pair[0].0.to_owned()));
        }
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let joined = labels.join(",");
        let (length, mut text) = (joined.len(), [0; MAX_LABELS_BYTES]);
        let place = text.get_mut(..length).ok_or(InvalidLabels::TooLong(length))?;
        place.copy_from_slice(joined.as_bytes());
        let length = u8::try_from(length).map_err(|_| InvalidLabels::TooLong(length))?;
        Ok(Self { length, text })
    }
}

impl TryFrom<String> for Labels {
    type Error = InvalidLabels;

    fn try_from(text: String) -> Result<Self, InvalidLabels> {
        text.parse()
    }
}

impl From<Labels> for String {
    fn from(labels: Labels) -> Self {
        labels.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        text.parse().expect("labels")
    }

    #[test]
    fn their_order_does_not_matter() {
        assert_eq!(labels("region=eu,gpu=a100"), labels("gpu=a100,region=eu"));
        assert_eq!(labels("region=eu,gpu=a100").to_string(), "gpu=a100,region=eu");
        assert!(labels("").is_empty() && labels("") == Labels::NONE);
    }

    #[test]
    fn a_worker_has_what_a_function_asks_for_or_has_not() {
        let worker = labels("gpu=a100,region=eu");
        for wanted in ["", "gpu=a100", "region=eu", "region=eu,gpu=a100"] {
            assert!(worker.contain(&labels(wanted)), "{wanted}");
        }
        for wanted in ["gpu=a10", "gpu=a1000", "gpu=a100,region=us", "disk=ssd"] {
            assert!(!worker.contain(&labels(wanted)), "{wanted}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let told = |text: &str| text.parse::<Labels>().expect_err("wrong").to_string();
        for wrong in ["gpu", "gpu=", "=a", "g pu=a", "gpu=a,", "gpu=a@b", "gpu=a=b", "gpu=\u{e4}"] {
            assert!(told(wrong).contains("KEY=VALUE"), "{wrong}");
        }
        assert_eq!(told("a=1,a=2"), "the label `a` is given twice");
        let most = format!("k={}", "v".repeat(MAX_LABELS_BYTES - 2));
        assert_eq!(labels(&most).as_str(), most);
        assert!(told(&format!("{most}v")).contains("96 bytes"));
    }
}
