//! What a call reached outside of its interpreter, and what it was refused, as its record tells.

use serde::{Deserialize, Serialize};

use crate::http::{HttpLog, noted};

/// Refusals of a call that its record tells of: the first ones, each once.
pub const DENIED: usize = 20;

/// What a call reached and what it was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLog {
    /// The HTTP requests that it made; `None` where it made none.
    pub http: Option<HttpLog>,
    /// What it was refused.
    pub denied: Vec<Denied>,
}

/// Something that a call was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// What it is.
    pub kind: DeniedKind,
    /// Its name; empty where it has none.
    pub name: String,
}

/// What a call may be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeniedKind {
    /// To read a file, or a directory, whose name ends with a slash.
    Read,
    /// To write a file.
    Write,
    /// An environment variable.
    Env,
    /// An HTTP request.
    Http,
    /// The network: a host and a port, where they are known.
    Network,
    /// A thread.
    Thread,
    /// A process.
    Process,
    /// A module.
    Module,
}

impl DeniedKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Env,
        Self::Http,
        Self::Network,
        Self::Thread,
        Self::Process,
        Self::Module,
    ];

    /// The word in HTTP, and the guest's.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Env => "env",
            Self::Http => "http",
            Self::Network => "network",
            Self::Thread => "thread",
            Self::Process => "process",
            Self::Module => "module",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Adds a refusal to a list, unless it is there or the list is full.
pub fn deny(list: &mut Vec<Denied>, kind: DeniedKind, name: &str) {
    if list.len() >= DENIED {
        return;
    }
    let denied = Denied { kind, name: noted(name) };
    if !list.contains(&denied) {
        list.push(denied);
    }
}

impl AccessLog {
    /// Adds the refusals of another list.
    pub fn add(&mut self, denied: &[Denied]) {
        for Denied { kind, name } in denied {
            deny(&mut self.denied, *kind, name);
        }
    }

    /// The log for a record; `None` where there is nothing to tell.
    #[must_use]
    pub fn recorded(self) -> Option<Box<Self>> {
        (self.http.is_some() || !self.denied.is_empty()).then(|| Box::new(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_holds_each_refusal_once_and_not_too_many() {
        let mut log = AccessLog::default();
        let of = |name: &str| Denied { kind: DeniedKind::Read, name: name.to_owned() };
        log.add(&[of("/a"), of("/a"), of(&"b".repeat(1000))]);
        assert_eq!(log.denied.len(), 2);
        assert!(log.denied[1].name.len() <= crate::http::HTTP_NOTE_BYTES);
        log.add(&(0..100).map(|number| of(&number.to_string())).collect::<Vec<_>>());
        assert_eq!(log.denied.len(), DENIED);
        assert_eq!(AccessLog::default().recorded(), None);
        for kind in DeniedKind::ALL {
            assert_eq!(DeniedKind::of(kind.as_str()), Some(kind));
            let encoded = rmp_serde::to_vec(&kind).expect("encoded");
            let word: String = rmp_serde::from_slice(&encoded).expect("a text");
            assert_eq!(word, kind.as_str());
        }
    }
}
