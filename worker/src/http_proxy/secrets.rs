//! The file of secrets: what `{{secret:NAME}}` in a header stands for, and in which requests.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use belljar_core::http::{HTTP_HEADER_BYTES, HttpPattern, HttpTarget};
use http::header::{HeaderMap, HeaderValue};
use serde::{Deserialize, Deserializer, de};

use super::message::{Refusal, RefusalKind};

const OPEN: &str = "{{secret:";
const CLOSE: &str = "}}";

/// Secrets by their names.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Secrets(BTreeMap<String, Secret>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    #[serde(deserialize_with = "value")]
    value: String,
    /// The requests that it may be sent with.
    #[serde(rename = "for", deserialize_with = "patterns")]
    requests: Vec<HttpPattern>,
}

/// Why a file of secrets cannot be used. Nothing of its content is told.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// It cannot be read.
    #[error("the file of secrets `{}` cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others may read or write it.
    #[error(
        "the file of secrets `{}` has the mode {mode:o} and belongs to user {owner}: others than the service's user \
         may read or change it",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Whose it is.
        owner: u32,
    },
    /// It says what cannot be understood.
    #[error("the file of secrets `{}` is wrong in line {line}: {cause}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The number of the line, the first is 1.
        line: usize,
        /// What is wrong there.
        cause: String,
    },
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// Reads a file that nobody else may read.
    pub(super) fn read(path: &Path) -> Result<Self, SecretsError> {
        let unreadable = |source| SecretsError::Unreadable { path: path.to_owned(), source };
        let mut file = std::fs::File::open(path).map_err(unreadable)?;
        // Of what was opened: the path may name something else by now.
        let metadata = file.metadata().map_err(unreadable)?;
        let (mode, owner) = (metadata.permissions().mode() & 0o777, metadata.uid());
        let own = rustix::process::geteuid().as_raw();
        if mode & 0o077 != 0 || ![0, own].contains(&owner) {
            return Err(SecretsError::Exposed { path: path.to_owned(), mode, owner });
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&text).map_err(|(line, cause)| {
            let path = path.to_owned();
            SecretsError::Invalid { path, line, cause }
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let secrets: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
            (line, cause(error.message()))
        })?;
        match secrets.0.keys().find(|name| !is_name(name)) {
            Some(name) => Err((1, format!("`{name}` is no name: letters, digits and `_`"))),
            None => Ok(secrets),
        }
    }

    /// The headers with the values of secrets in place of their names.
    pub(super) fn put_into(
        &self,
        mut headers: HeaderMap,
        target: &HttpTarget,
    ) -> Result<HeaderMap, Refusal> {
        let mut bytes = 0;
        for value in headers.values_mut() {
            if let Some(replaced) = self.replaced(value.as_bytes(), target)? {
                *value = replaced;
            }
            bytes += value.len();
        }
        if bytes > HTTP_HEADER_BYTES {
            let text =
                format!("the headers with their secrets have over {HTTP_HEADER_BYTES} bytes");
            return Err(Refusal::new(RefusalKind::Limit, text));
        }
        Ok(headers)
    }

    /// A header's value with its secrets; `None` where it names none.
    fn replaced(&self, value: &[u8], target: &HttpTarget) -> Result<Option<HeaderValue>, Refusal> {
        let Some(mut rest) = std::str::from_utf8(value).ok().filter(|text| text.contains(OPEN))
        else {
            return Ok(None);
        };
        let mut text = String::new();
        while let Some((before, after)) = rest.split_once(OPEN) {
            let (name, after) = after.split_once(CLOSE).ok_or_else(|| {
                Refusal::new(RefusalKind::Invalid, format!("`{OPEN}` is not closed by `{CLOSE}`"))
            })?;
            text.push_str(before);
            text.push_str(self.value(name, target)?);
            if text.len() > HTTP_HEADER_BYTES {
                break;
            }
            rest = after;
        }
        text.push_str(rest);
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| Refusal::new(RefusalKind::Invalid, "a header is malformed"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn value(&self, name: &str, target: &HttpTarget) -> Result<&str, Refusal> {
        let secret = self
            .0
            .get(name)
            .filter(|secret| secret.requests.iter().any(|pattern| pattern.matches(target)));
        let secret = secret.ok_or_else(|| {
            let name: String = name.chars().take(64).collect();
            let text = format!(
                "the worker has no secret `{}` for the HTTP request `{} {target}`",
                name.escape_debug(),
                target.method()
            );
            Refusal::new(RefusalKind::Denied, text)
        })?;
        Ok(&secret.value)
    }
}

/// What is wrong, without a value that may be in the parser's words.
fn cause(message: &str) -> String {
    if message.starts_with("invalid type") || message.starts_with("invalid value") {
        return "a secret is a table with a text `value` and a list of texts `for`".to_owned();
    }
    message.trim().replace('\n', ", ")
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A value that can stand in a header.
fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let fits = !text.is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if fits { Ok(text) } else { Err(de::Error::custom("a value is printable ASCII")) }
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HttpPattern>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.is_empty() {
        return Err(de::Error::custom("`for` names the requests that it may be sent with"));
    }
    texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
}
