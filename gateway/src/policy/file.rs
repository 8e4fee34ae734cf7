//! The file of policies: a `[default]` table, and one for each tenant that has other rules.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use belljar_core::grants;
use belljar_core::task::{Priority, Runtime};
use belljar_core::tenant::{Tenant, Weight};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::bounds::{Bound, TableLimits, TableQuotas};
use super::{PolicyGrants, TenantPolicy};

/// The word for a list that holds everything.
const ANY: &str = "any";

/// Why a file of policies cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It cannot be read.
    #[error("the tenants file `{path}` cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It says what cannot be understood.
    #[error("the tenants file `{path}` is wrong in line {line}: {cause}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The number of the line, the first is 1.
        line: usize,
        /// What is wrong there.
        cause: String,
    },
}

/// A file of policies, read and checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyFile {
    /// How many connections one address may have open at a gateway process.
    pub connections_per_address: Option<u32>,
    default: Table,
    tenant: BTreeMap<Tenant, Table>,
}

/// What the file says of one tenant, or of all; what it does not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    runtimes: Option<RuntimeList>,
    max_priority: Option<Priority>,
    weight: Option<Weight>,
    grants: TableGrants,
    limits: TableLimits,
    quotas: TableQuotas,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TableGrants {
    read: Option<Names<Directory>>,
    env: Option<Names<Variable>>,
    http: Option<Names<Requests>>,
    scratch_mb: Option<Bound>,
}

impl PolicyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is wrong; the first thing that is.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| PolicyError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
            let cause = error.message().trim().replace('\n', ", ");
            PolicyError::Invalid { path: path.to_owned(), line, cause }
        })
    }

    /// The tenants that have tables of their own, by name.
    pub fn named(&self) -> impl Iterator<Item = &Tenant> {
        self.tenant.keys()
    }

    /// What `tenant` may do: by its table, and by the default one where its own says nothing.
    #[must_use]
    pub fn policy(&self, tenant: &Tenant) -> TenantPolicy {
        let none = Table::default();
        let (own, default) = (self.tenant.get(tenant).unwrap_or(&none), &self.default);
        let runtimes = own.runtimes.as_ref().or(default.runtimes.as_ref());
        let grants = PolicyGrants {
            read: Names::of(own.grants.read.as_ref(), default.grants.read.as_ref()),
            env: Names::of(own.grants.env.as_ref(), default.grants.env.as_ref()),
            http: Names::of(own.grants.http.as_ref(), default.grants.http.as_ref()),
            scratch_mb: Bound::of(own.grants.scratch_mb, default.grants.scratch_mb),
        };
        TenantPolicy {
            tenant: tenant.clone(),
            runtimes: runtimes.map_or_else(|| Runtime::ALL.to_vec(), |list| list.0.clone()),
            grants,
            max_priority: own.max_priority.or(default.max_priority).unwrap_or(Priority::High),
            weight: own.weight.or(default.weight).unwrap_or_default(),
            limits: own.limits.over(&default.limits),
            quotas: own.quotas.over(&default.quotas),
        }
    }
}

/// At least one runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RuntimeList(Vec<Runtime>);

impl<'de> Deserialize<'de> for RuntimeList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let named = Vec::<Runtime>::deserialize(deserializer)?;
        if named.is_empty() {
            return Err(de::Error::custom("name `native`, `sandbox` or both"));
        }
        Ok(Self(Runtime::ALL.into_iter().filter(|runtime| named.contains(runtime)).collect()))
    }
}

/// What the names of a list are.
trait NameKind {
    /// For errors.
    const WHAT: &str;

    fn check(name: &str) -> Result<(), grants::InvalidGrant>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Directory;

impl NameKind for Directory {
    const WHAT: &str = "directories";

    fn check(name: &str) -> Result<(), grants::InvalidGrant> {
        grants::check_path(name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable;

impl NameKind for Variable {
    const WHAT: &str = "environment variables";

    fn check(name: &str) -> Result<(), grants::InvalidGrant> {
        grants::check_name(name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requests;

impl NameKind for Requests {
    const WHAT: &str = "HTTP requests";

    fn check(name: &str) -> Result<(), grants::InvalidGrant> {
        grants::check_http(name)
    }
}

/// Names of one kind, or all there are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names<K>(Option<Vec<String>>, std::marker::PhantomData<K>);

impl<K> Names<K> {
    fn of(own: Option<&Self>, default: Option<&Self>) -> Option<Vec<String>> {
        own.or(default).and_then(|names| names.0.clone())
    }
}

impl<'de, K: NameKind> Deserialize<'de> for Names<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor<K>(std::marker::PhantomData<K>);

        impl<'de, K: NameKind> Visitor<'de> for NamesVisitor<K> {
            type Value = Names<K>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of {}, or \"{ANY}\"", K::WHAT)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Names<K>, E> {
                match text {
                    ANY => Ok(Names(None, self.0)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names<K>, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element::<String>()? {
                    K::check(&name).map_err(de::Error::custom)?;
                    names.push(name);
                }
                Ok(Names(Some(names), self.0))
            }
        }

        deserializer.deserialize_any(NamesVisitor(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(text: &str) -> Result<PolicyFile, PolicyError> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        PolicyFile::read(file.path())
    }

    fn weight(number: u32) -> Weight {
        number.try_into().expect("a weight")
    }

    fn tenant(name: &str) -> Tenant {
        name.parse().expect("a name")
    }

    #[test]
    fn a_tenants_table_stands_over_the_default_one() {
        let file = read(
            r#"
            connections_per_address = 64
            [default]
            runtimes = ["sandbox"]
            max_priority = "normal"
            [default.limits]
            timeout_s = 60
            memory_mb = 512
            [default.grants]
            read = []
            [default.quotas]
            requests_per_s = 10
            [tenant.research]
            runtimes = ["sandbox", "native"]
            weight = 3
            grants = { read = "any", env = ["REGION"], http = ["GET https://a/*"], scratch_mb = 16 }
            limits.timeout_s = "unlimited"
            quotas.long_polls = 4
            "#,
        )
        .expect("valid");
        assert_eq!(file.connections_per_address, Some(64));
        assert_eq!(file.named().map(Tenant::as_str).collect::<Vec<_>>(), ["research"]);
        let own = file.policy(&tenant("research"));
        assert_eq!((own.runtimes.as_slice(), own.weight), (&Runtime::ALL[..], weight(3)));
        assert_eq!((own.limits.timeout_s, own.limits.memory_mb), (None, Some(512)));
        assert_eq!((own.quotas.requests_per_s, own.quotas.long_polls), (Some(10), Some(4)));
        let env = Some(vec!["REGION".to_owned()]);
        let http = Some(vec!["GET https://a/*".to_owned()]);
        assert_eq!(own.grants, PolicyGrants { read: None, env, http, scratch_mb: Some(16) });
        let other = file.policy(&tenant("other"));
        assert_eq!((other.runtimes.as_slice(), other.weight), (&[Runtime::Sandbox][..], weight(1)));
        assert_eq!((other.limits.timeout_s, other.max_priority), (Some(60), Priority::Normal));
        let read = Some(vec![]);
        assert_eq!(other.grants, PolicyGrants { read, env: None, http: None, scratch_mb: None });
    }

    #[test]
    fn an_empty_file_restricts_nothing() {
        let policy = PolicyFile::default().policy(&Tenant::default());
        assert_eq!(read("").expect("valid"), PolicyFile::default());
        assert_eq!((policy.runtimes.as_slice(), policy.weight), (&Runtime::ALL[..], weight(1)));
        assert_eq!((policy.limits, policy.quotas), Default::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, cause) in [
            ("[default]\nruntime = [\"sandbox\"]", 2, "unknown field `runtime`"),
            ("\n[tenants.acme]", 2, "unknown field `tenants`"),
            ("[tenant.Acme]\nweight = 2", 1, "`Acme` is not a tenant"),
            ("[default]\n\nweight = 0", 3, "`0` is not a weight: a whole number from 1 to 1000"),
            ("[default]\nruntimes = []", 2, "name `native`, `sandbox` or both"),
            ("[default]\nmax_priority = \"urgent\"", 2, "unknown variant `urgent`"),
            ("[default.limits]\ntimeout_s = -1", 2, "a whole number, 0 or more, or \"unlimited\""),
            ("[default.limits]\ntimeout_s = \"1\"", 2, "or \"unlimited\""),
            ("[default.grants]\nread = [\n\"srv\"]", 2, "`srv` is not an absolute path"),
            ("[default.grants]\nhttp = [\"a.b\"]", 2, "`a.b` is no grant of HTTP requests"),
            ("[default.grants]\nenv = \"all\"", 2, "a list of environment variables, or \"any\""),
            ("[default.quotas]\nqueued = 1", 2, "unknown field `queued`"),
            ("[default]\nweight = 1\nweight = 2", 3, "duplicate key"),
            ("[default\n", 1, "]"),
        ] {
            let error = read(text).expect_err(text);
            let PolicyError::Invalid { line: found, cause: why, .. } = &error else {
                panic!("{text}: {error}")
            };
            assert!(why.contains(cause) && *found == line, "{text}: line {found}: {why}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
