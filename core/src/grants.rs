//! What a function may reach beyond its own interpreter: requested when it is registered and
//! allowed by the worker. Only what is both is granted.

use serde::{Deserialize, Serialize};

use crate::http::{HttpPattern, InvalidPattern};

/// MiB of the `/tmp` of a sandboxed call that asks for no other size, where the worker offers as much.
pub const DEFAULT_SCRATCH_MB: u32 = 16;

/// What a function asks for. Each call of it gets all of this, or ends as denied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrantRequest {
    /// Names of environment variables.
    pub env: Vec<String>,
    /// Absolute paths of directories, to be read under the same paths.
    pub read: Vec<String>,
    /// MiB of a writable `/tmp` in memory that ends with the call; 0 for the default. Sandbox only: a native
    /// function has the machine's.
    pub scratch_mb: u32,
    /// HTTP requests, as [`HttpPattern`]s. Sandbox only: a native function has the machine's network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<String>,
}

/// What a worker's operator lets functions ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantPolicy {
    /// Environment variables and their values.
    pub env: Vec<(String, String)>,
    /// Absolute paths of directories.
    pub read: Vec<String>,
    /// The largest `/tmp` of a call, in MiB.
    pub scratch_mb: u32,
    /// HTTP requests.
    pub http: Vec<HttpPattern>,
}

/// What the worker grants to one call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// Environment variables and their values.
    pub env: Vec<(String, String)>,
    /// Directories to read, among those that the child was started with.
    pub read: Vec<String>,
    /// MiB of a `/tmp` in memory.
    pub scratch_mb: u32,
    /// Whether there is something to ask for HTTP requests; which ones are granted, the worker knows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http: bool,
}

/// A grant that the worker does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantDenied {
    /// An environment variable.
    #[error(
        "the environment variable `{0}` is not granted here: the worker must be started with `--grant-env {0}`"
    )]
    Env(String),
    /// A directory.
    #[error(
        "the directory `{0}` is not granted here: the worker must be started with `--grant-read {0}`"
    )]
    Read(String),
    /// HTTP requests.
    #[error(
        "HTTP requests `{0}` are not granted here: the worker must be started with `--grant-http '{0}'`"
    )]
    Http(String),
    /// A larger `/tmp` than there may be.
    #[error(
        "scratch space of {asked} MiB is not granted here: the worker gives up to {offered} (`--grant-scratch-mb`)"
    )]
    Scratch {
        /// What the function asks for.
        asked: u32,
        /// What there is.
        offered: u32,
    },
}

/// Why something cannot be asked for at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrant {
    /// No name of a variable.
    #[error("`{0}` is not the name of an environment variable")]
    Env(String),
    /// No path that means the same everywhere.
    #[error("`{0}` is not an absolute path without `.`, `..` and doubled or trailing slashes")]
    Read(String),
    /// A path that is the guest's own.
    #[error("`{0}` cannot be granted: the sandbox has its own `/{1}`")]
    Reserved(String, String),
    /// No pattern of HTTP requests.
    #[error(transparent)]
    Http(#[from] InvalidPattern),
}

/// First components of paths that mean something else in the guest.
const RESERVED: [&str; 4] = ["lib", "site", "path", "dev"];

impl GrantRequest {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether any worker could grant everything that is asked for.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> Result<(), InvalidGrant> {
        self.env.iter().try_for_each(|name| check_name(name))?;
        self.read.iter().try_for_each(|path| check_path(path))?;
        self.http.iter().try_for_each(|text| check_http(text))
    }
}

/// Whether `name` can name an environment variable.
///
/// # Errors
/// It cannot.
pub fn check_name(name: &str) -> Result<(), InvalidGrant> {
    let fits = !name.is_empty() && !name.contains(['=', '\0']);
    if fits { Ok(()) } else { Err(InvalidGrant::Env(name.to_owned())) }
}

/// Whether `text` names HTTP requests.
///
/// # Errors
/// It does not.
pub fn check_http(text: &str) -> Result<(), InvalidGrant> {
    Ok(text.parse::<HttpPattern>().map(drop)?)
}

/// Whether the HTTP requests `asked` are among `offered`.
#[must_use]
pub fn offers_http(offered: &[HttpPattern], asked: &str) -> bool {
    let asked = asked.parse::<HttpPattern>();
    asked.is_ok_and(|asked| offered.iter().any(|offered| offered.covers(&asked)))
}

/// Whether the directory `path` can be granted.
///
/// # Errors
/// It cannot.
pub fn check_path(path: &str) -> Result<(), InvalidGrant> {
    let invalid = || InvalidGrant::Read(path.to_owned());
    let inside = path.strip_prefix('/').ok_or_else(invalid)?;
    if path.contains('\0') || inside.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(invalid());
    }
    let first = inside.split('/').next().unwrap_or_default();
    if RESERVED.contains(&first) {
        return Err(InvalidGrant::Reserved(path.to_owned(), first.to_owned()));
    }
    Ok(())
}

impl GrantPolicy {
    /// MiB of the `/tmp` of a sandboxed call that asks for no other size.
    #[must_use]
    pub fn default_scratch_mb(&self) -> u32 {
        self.scratch_mb.min(DEFAULT_SCRATCH_MB)
    }

    /// What a call gets that asks for `asked`, if all of it is offered.
    ///
    /// # Errors
    /// The first that is not offered.
    pub fn grant(&self, asked: &GrantRequest) -> Result<Granted, GrantDenied> {
        if let Some(path) = asked.read.iter().find(|path| !self.read.contains(path)) {
            return Err(GrantDenied::Read(path.clone()));
        }
        if asked.scratch_mb > self.scratch_mb {
            return Err(GrantDenied::Scratch { asked: asked.scratch_mb, offered: self.scratch_mb });
        }
        if let Some(text) = asked.http.iter().find(|text| !offers_http(&self.http, text)) {
            return Err(GrantDenied::Http(text.clone()));
        }
        let value = |name: &String| {
            let offered = self.env.iter().find(|(offered, _)| offered == name);
            offered.cloned().ok_or_else(|| GrantDenied::Env(name.clone()))
        };
        let env = asked.env.iter().map(value).collect::<Result<_, _>>()?;
        let scratch_mb = match asked.scratch_mb {
            0 => self.default_scratch_mb(),
            asked => asked,
        };
        let http = !asked.http.is_empty();
        Ok(Granted { env, read: asked.read.clone(), scratch_mb, http })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant_policy() -> GrantPolicy {
        let env = vec![("REGION".to_owned(), "eu".to_owned())];
        let http = vec!["GET https://api.example.com/v1/*".parse().expect("a pattern")];
        GrantPolicy { env, read: vec!["/srv/data".to_owned()], scratch_mb: 8, http }
    }

    #[test]
    fn what_is_asked_and_offered_is_granted() {
        let GrantPolicy { env, read, scratch_mb, .. } = grant_policy();
        let http = vec!["GET https://api.example.com/v1/users/*".to_owned()];
        let asked =
            GrantRequest { env: vec!["REGION".into()], read: read.clone(), scratch_mb, http };
        assert_eq!(grant_policy().grant(&asked), Ok(Granted { env, read, scratch_mb, http: true }));
        let plain = Granted { scratch_mb, ..Granted::default() };
        assert_eq!(grant_policy().grant(&GrantRequest::default()), Ok(plain));
        let generous = GrantPolicy { scratch_mb: 64, ..grant_policy() };
        assert_eq!(generous.default_scratch_mb(), DEFAULT_SCRATCH_MB);
    }

    #[test]
    fn what_is_not_offered_is_denied_by_name() {
        let env = GrantRequest { env: vec!["TOKEN".into()], ..GrantRequest::default() };
        // Not even what lies below an offered directory: the worker opened this one only.
        let read =
            GrantRequest { read: vec!["/srv/data/private".into()], ..GrantRequest::default() };
        let scratch = GrantRequest { scratch_mb: 9, ..GrantRequest::default() };
        for wider in ["GET https://api.example.com/*", "* https://api.example.com/v1/*", "?"] {
            let http = GrantRequest { http: vec![wider.into()], ..GrantRequest::default() };
            assert_eq!(grant_policy().grant(&http), Err(GrantDenied::Http(wider.into())));
        }
        assert_eq!(grant_policy().grant(&env), Err(GrantDenied::Env("TOKEN".into())));
        assert_eq!(grant_policy().grant(&read), Err(GrantDenied::Read("/srv/data/private".into())));
        assert_eq!(
            grant_policy().grant(&scratch),
            Err(GrantDenied::Scratch { asked: 9, offered: 8 })
        );
    }

    #[test]
    fn only_plain_absolute_paths_can_be_asked_for() {
        for path in ["srv", "/", "/srv/", "/srv//x", "/srv/../etc", "/srv/.", "/srv\0"] {
            assert_eq!(check_path(path), Err(InvalidGrant::Read(path.into())), "{path}");
        }
        assert!(matches!(check_path("/lib/x"), Err(InvalidGrant::Reserved(..))));
        assert_eq!(check_path("/srv/data"), Ok(()));
        assert!(check_name("A=B").is_err() && check_name("").is_err() && check_name("A").is_ok());
    }

    #[test]
    fn grants_without_http_are_encoded_as_they_were_before_it() {
        let asked = GrantRequest { env: vec!["A".into()], ..GrantRequest::default() };
        let encoded = rmp_serde::to_vec(&asked).expect("encoded");
        assert_eq!(encoded[0], 0x93, "three fields");
        assert_eq!(rmp_serde::from_slice::<GrantRequest>(&encoded).expect("decoded"), asked);
        let asked = GrantRequest { http: vec!["GET https://a/*".into()], ..asked };
        let encoded = rmp_serde::to_vec(&asked).expect("encoded");
        assert_eq!(rmp_serde::from_slice::<GrantRequest>(&encoded).expect("decoded"), asked);
        let granted = rmp_serde::to_vec(&Granted::default()).expect("encoded");
        assert_eq!(granted[0], 0x93, "three fields");
        assert_eq!(
            rmp_serde::from_slice::<Granted>(&granted).expect("decoded"),
            Granted::default()
        );
    }
}
