//! Packages of the package index that a function asks for, and the files that were chosen for it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::sha256::Sha256Hash;

/// The most packages that a function may ask for.
pub const MAX_REQUIREMENTS: usize = 32;
/// The longest requirement, in bytes.
pub const MAX_REQUIREMENT_BYTES: usize = 200;
/// The most packages that may be chosen for it, with those that they need: they are part of the record of every call.
pub const MAX_WHEELS: usize = 64;

/// What pip gets of the environment of the process that runs it, which is otherwise empty: the way to the index.
pub const PIP_ENVIRONMENT: [&str; 9] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "PATH",
];

const OPERATORS: [&str; 7] = ["==", "!=", "<=", ">=", "~=", "<", ">"];

/// A package and the versions of it that will do, such as `jinja2==3.1.4` or `httpx[http2]>=0.27,<1`. Nothing else that pip takes:
/// no URL, no path, no option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement(String);

/// A text that is no requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no requirement: give the name of a package and versions, such as `jinja2==3.1.4`; URLs, paths, markers and options are not taken"
)]
pub struct InvalidRequirement(String);

impl Requirement {
    /// It as it was written, without spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Requirement {
    type Err = InvalidRequirement;

    fn from_str(text: &str) -> Result<Self, InvalidRequirement> {
        let compact: String = text.chars().filter(|c| *c != ' ').collect();
        let is_short = compact.len() <= MAX_REQUIREMENT_BYTES;
        let shown = || text.chars().take(MAX_REQUIREMENT_BYTES).collect();
        if is_short && fits(&compact) {
            Ok(Self(compact))
        } else {
            Err(InvalidRequirement(shown()))
        }
    }
}

fn fits(text: &str) -> bool {
    let end = text.find(['[', '=', '!', '<', '>', '~']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let (extras, versions) = match rest.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((extras, versions))) => (extras, versions),
        Some(None) => return false,
        None => ("", rest),
    };
    let is_version = |clause: &str| {
        let version = OPERATORS.iter().find_map(|operator| clause.strip_prefix(operator));
        let may_hold = |c: char| c.is_ascii_alphanumeric() || ".*+!_-".contains(c);
        version.is_some_and(|version| !version.is_empty() && version.chars().all(may_hold))
    };
    is_name(name)
        && (rest == versions || extras.split(',').all(is_name))
        && (versions.is_empty() || versions.split(',').all(is_version))
}

/// Whether this names a package, or an extra of one.
fn is_name(text: &str) -> bool {
    let ends = |c: u8| c.is_ascii_alphanumeric();
    text.bytes().all(|c| ends(c) || b"._-".contains(&c))
        && text.bytes().next().is_some_and(ends)
        && text.bytes().last().is_some_and(ends)
}

/// One file of the package index: a wheel, by its name and the hash of its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Wheel {
    file: String,
    sha256: Sha256Hash,
}

/// What names no wheel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWheel {
    /// The name is not that of a wheel.
    #[error("`{0}` is not the name of a wheel")]
    Name(String),
    /// The hash is none.
    #[error("`{0}` is no SHA-256 in hexadecimal digits")]
    Hash(String),
    /// There are too many.
    #[error("the requirements come to {0} packages, and at most {MAX_WHEELS} are allowed")]
    TooMany(usize),
}

impl Wheel {
    /// The wheel of this name and hash, in hexadecimal digits.
    ///
    /// # Errors
    /// They are none.
    pub fn new(file: &str, sha256: &str) -> Result<Self, InvalidWheel> {
        let parts = file.strip_suffix(".whl").map_or(0, |stem| stem.split('-').count());
        let may_hold = |c: char| c.is_ascii_alphanumeric() || "._+!-".contains(c);
        let name = file.split('-').next().unwrap_or_default();
        if !matches!(parts, 5 | 6) || !file.chars().all(may_hold) || !is_name(name) {
            return Err(InvalidWheel::Name(file.to_owned()));
        }
        let hash = sha256.to_ascii_lowercase().parse();
        let hash = hash.map_err(|_| InvalidWheel::Hash(sha256.to_owned()))?;
        Ok(Self { file: file.to_owned(), sha256: hash })
    }

    /// The file's name.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The hash in hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> String {
        self.sha256.to_string()
    }

    /// The package and its version, as `NAME==VERSION`.
    #[must_use]
    pub fn pinned(&self) -> String {
        let mut parts = self.file.split('-');
        let (name, version) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        format!("{name}=={version}")
    }
}

/// The wheels that were chosen for what a function asks for, sorted: the same for every call of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PackageLock(Vec<Wheel>);

impl PackageLock {
    /// These wheels.
    ///
    /// # Errors
    /// There are more than [`MAX_WHEELS`].
    pub fn new(mut wheels: Vec<Wheel>) -> Result<Self, InvalidWheel> {
        if wheels.len() > MAX_WHEELS {
            return Err(InvalidWheel::TooMany(wheels.len()));
        }
        wheels.sort_unstable();
        Ok(Self(wheels))
    }

    /// The wheels.
    #[must_use]
    pub fn wheels(&self) -> &[Wheel] {
        &self.0
    }

    /// Names them together: the same wheels have the same name, of 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for wheel in &self.0 {
            hasher.update(&wheel.sha256.0);
            hasher.update(wheel.file.as_bytes());
            hasher.update(b"\n");
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_is_a_name_and_versions() {
        for good in [
            "jinja2",
            "jinja2==3.1.4",
            "httpx[http2,socks] >= 0.27, <1",
            "a.b-c_d~=1.0",
            "x==1.*",
            "x!=1!2+local",
        ] {
            let read: Requirement = good.parse().expect(good);
            assert_eq!(read.as_str(), good.replace(' ', ""));
        }
    }

    #[test]
    fn what_pip_takes_besides_is_refused() {
        let long = "x".repeat(MAX_REQUIREMENT_BYTES + 1);
        for bad in [
            "",
            " ",
            "-r /etc/passwd",
            "--index-url=http://x",
            "-e.",
            ".",
            "./x",
            "/x.whl",
            "x @ file:///x",
            "git+https://x",
            "x.whl/",
            "x==",
            "x===1",
            "x==1;python_version<'3'",
            "x[",
            "x[]",
            "x[a",
            "x==1\n--pre",
            "x==1,",
            "x=1",
            "x\n",
            "ü",
            "==1",
            "x==$(id)",
            long.as_str(),
        ] {
            assert!(bad.parse::<Requirement>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_wheel_is_named_and_hashed() {
        let hash = "0a".repeat(32);
        let wheel = Wheel::new("jinja2-3.1.4-py3-none-any.whl", &hash).expect("a wheel");
        assert_eq!((wheel.pinned(), wheel.sha256()), ("jinja2==3.1.4".into(), hash.clone()));
        for bad in [
            "x.whl",
            "../x-1-py3-none-any.whl",
            "x-1.tar.gz",
            "-1-py3-none-any.whl",
            "x-1-py3-none-any.whl\n",
            "x 1-1-a-b-c.whl",
        ] {
            assert!(Wheel::new(bad, &hash).is_err(), "{bad:?}");
        }
        for bad in ["", "0a", &"0g".repeat(32), &"0a".repeat(33), &"+1".repeat(32)[..63]] {
            assert!(Wheel::new("x-1-py3-none-any.whl", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_same_wheels_have_one_name() {
        let wheel = |name: &str, digit: &str| {
            Wheel::new(&format!("{name}-1-py3-none-any.whl"), &digit.repeat(64)).expect("a wheel")
        };
        let lock = |wheels: &[Wheel]| PackageLock::new(wheels.to_vec()).expect("few");
        let (a, b) = (wheel("a", "1"), wheel("b", "2"));
        assert_eq!(lock(&[a.clone(), b.clone()]).id(), lock(&[b.clone(), a.clone()]).id());
        let alone = lock(std::slice::from_ref(&a)).id();
        assert_ne!(lock(&[a.clone(), b]).id(), alone);
        assert_ne!(lock(&[wheel("a", "3")]).id(), alone);
        assert!(PackageLock::new(vec![a; MAX_WHEELS + 1]).is_err());
    }
}
