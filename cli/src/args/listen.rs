//! The options of `up` and of the gateway about who reaches it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use belljar_gateway::oidc::{IssuerUrl, KeyTimes, OidcConfig};
use belljar_gateway::{
    CertificateFiles, ForwardedHeader, Proxies, PublicUrl, TrustedProxy, WebOrigin,
};
use clap::{ArgAction, Args, ValueEnum};

use super::common::positive;

/// What an address that is a file begins with.
const UNIX: &str = "unix:";

/// An address to listen on, as it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    /// A host, by name or address, and a port.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return if path.is_empty() {
                Err("`unix:` needs a path")
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        const FORM: &str = "it reads HOST:PORT, `[::]:PORT` or unix:PATH";
        let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        // An IPv6 address without brackets has no port.
        if host.is_empty() || (inner.is_none() && host.contains(':')) {
            return Err(FORM);
        }
        let port = port.parse().map_err(|_| "the port is a number from 0 to 65535")?;
        Ok(Self::Tcp(inner.unwrap_or(host).to_owned(), port))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl ListenAddress {
    /// The address whose port is this many higher; `None` where there is no such port. Port 0 takes a free one anyway.
    pub(crate) fn behind(&self, ports: usize) -> Option<Self> {
        match self {
            Self::Tcp(host, port @ 1..) => {
                let port = u16::try_from(usize::from(*port) + ports).ok()?;
                Some(Self::Tcp(host.clone(), port))
            }
            other => Some(other.clone()),
        }
    }
}

/// Where a process shows its metrics.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct MetricsArgs {
    /// Where this process shows `/metrics` for Prometheus, `/healthz` and `/readyz`, as HOST:PORT, without keys or TLS;
    /// port 0 takes a free port. Of `up`: the dispatcher; its workers take the ports after it. [default: nowhere]
    #[arg(long, env = "BELLJAR_METRICS_LISTEN", value_name = "HOST:PORT", value_parser = tcp_address)]
    pub(crate) metrics_listen: Option<ListenAddress>,
}

fn tcp_address(text: &str) -> Result<ListenAddress, &'static str> {
    match text.parse()? {
        ListenAddress::Unix(_) => Err("it reads HOST:PORT or `[::]:PORT`"),
        tcp => Ok(tcp),
    }
}

/// Where clients reach the gateway, and what they must show.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ListenArgs {
    /// An address to listen on, as HOST:PORT, [::]:PORT or unix:PATH; port 0 takes a free port; repeatable. Beyond
    /// loopback a gateway speaks TLS and requires keys.
    #[arg(
        long,
        env = "BELLJAR_LISTEN",
        value_name = "ADDR",
        value_delimiter = ',',
        default_value = "127.0.0.1:8000"
    )]
    pub(crate) listen: Vec<ListenAddress>,
    /// Whether requests must show a key that `belljar key create` made; `auto`: beyond loopback.
    #[arg(long, env = "BELLJAR_KEYS", value_enum, default_value_t = KeyUse::Auto)]
    pub(crate) keys: KeyUse,
    /// Listen beyond loopback without TLS and, unless they are required, without keys: anyone who reaches the
    /// port can run code.
    #[arg(long, env = "BELLJAR_INSECURE", value_name = "true|false", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) insecure: bool,
    /// A proxy in front of the gateway that is believed when it says where a request comes from: an address, a network such as
    /// `10.0.0.0/8`, or `unix` for every peer of a unix socket; repeatable.
    #[arg(long, env = "BELLJAR_TRUSTED_PROXY", value_name = "NETWORK", value_delimiter = ',')]
    pub(crate) trusted_proxy: Vec<TrustedProxy>,
    /// The header in which it says so. The other one is not read, since proxies pass on what clients write into it.
    #[arg(long, env = "BELLJAR_FORWARDED_HEADER", value_enum, default_value_t = HeaderName::XForwardedFor)]
    pub(crate) forwarded_header: HeaderName,
    /// The URL under which clients reach the gateway through a proxy: its host is answered, its pages may change something, and
    /// its path is removed from requests that have it [default: the addresses that are listened on].
    #[arg(long, env = "BELLJAR_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<PublicUrl>,
    /// The origin of web pages that may use this service from a browser, as https://HOST[:PORT]; repeatable
    /// [default: only its own].
    #[arg(long, env = "BELLJAR_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) cors_origin: Vec<WebOrigin>,
    /// What tenants may do and how much, as a TOML file; it is read again when it changes [default: no restrictions].
    #[arg(long, env = "BELLJAR_TENANTS", value_name = "FILE")]
    pub(crate) tenants: Option<PathBuf>,
    /// Record who does what in this file, each line with the hash of the line before; while it cannot be written, nothing is
    /// done that it would record [default: nowhere].
    #[arg(long, env = "BELLJAR_AUDIT_LOG", value_name = "FILE")]
    pub(crate) audit_log: Option<PathBuf>,
    /// Record it in the store, in one log of all gateways, and keep about so many of the newest records there: some 500 bytes
    /// each. May be given beside the file [default: nowhere].
    #[arg(long, env = "BELLJAR_AUDIT_STREAM", value_name = "RECORDS", value_parser = positive::<u64>)]
    pub(crate) audit_stream: Option<u64>,
    #[command(flatten)]
    pub(crate) oidc: OidcArgs,
    #[command(flatten)]
    pub(crate) tls: HttpTlsArgs,
}

/// Tokens in place of keys.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OidcArgs {
    /// Take tokens (JWT) of this OpenID Connect issuer in place of keys: its URL, as tokens have it in `iss`. Keys are required
    /// then, and clients without a token show one.
    #[arg(long, env = "BELLJAR_OIDC_ISSUER", value_name = "URL", requires = "oidc_audience")]
    pub(crate) oidc_issuer: Option<IssuerUrl>,
    /// What tokens for this service have in `aud`.
    #[arg(long, env = "BELLJAR_OIDC_AUDIENCE", value_name = "TEXT", requires = "oidc_issuer")]
    pub(crate) oidc_audience: Option<String>,
    /// The claim of a token that names the tenant.
    #[arg(long, env = "BELLJAR_OIDC_TENANT_CLAIM", value_name = "CLAIM", default_value = "tenant")]
    pub(crate) oidc_tenant_claim: String,
    /// The claim with the scopes, such as `belljar:submit`: words in one text, or a list.
    #[arg(long, env = "BELLJAR_OIDC_SCOPE_CLAIM", value_name = "CLAIM", default_value = "scope")]
    pub(crate) oidc_scope_claim: String,
}

impl OidcArgs {
    /// Whose tokens are taken, if any are.
    pub(crate) fn config(&self) -> Option<OidcConfig> {
        Some(OidcConfig {
            issuer: self.oidc_issuer.clone()?,
            audience: self.oidc_audience.clone()?,
            tenant_claim: self.oidc_tenant_claim.clone(),
            scope_claim: self.oidc_scope_claim.clone(),
            times: KeyTimes::default(),
        })
    }
}

/// Whether clients show keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyUse {
    /// As soon as the gateway listens beyond loopback.
    #[default]
    Auto,
    /// Always.
    Required,
}

/// The header of a proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum HeaderName {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded`.
    Forwarded,
}

impl ListenArgs {
    /// The proxies that are believed.
    pub(crate) fn proxies(&self) -> Proxies {
        let header = match self.forwarded_header {
            HeaderName::XForwardedFor => ForwardedHeader::XForwardedFor,
            HeaderName::Forwarded => ForwardedHeader::Forwarded,
        };
        Proxies { trusted: self.trusted_proxy.clone(), header }
    }
}

/// TLS for clients. Not the files of dispatcher and workers, which have another authority.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct HttpTlsArgs {
    /// The certificate chain that clients are shown, as PEM; it is read again when the file changes.
    #[arg(
        id = "http_tls_cert",
        long = "tls-cert",
        env = "BELLJAR_HTTP_TLS_CERT",
        value_name = "FILE",
        requires = "http_tls_key"
    )]
    pub(crate) certificate: Option<PathBuf>,
    /// The private key of that certificate, as PEM.
    #[arg(
        id = "http_tls_key",
        long = "tls-key",
        env = "BELLJAR_HTTP_TLS_KEY",
        value_name = "FILE",
        requires = "http_tls_cert"
    )]
    pub(crate) key: Option<PathBuf>,
    /// The authorities of clients' certificates, as PEM. A certificate stands for the key that `belljar key create --certificate` made for
    /// its common name; keys are required then, and clients without a certificate show one. It is read again when it changes.
    #[arg(
        id = "http_tls_client_ca",
        long = "tls-client-ca",
        env = "BELLJAR_HTTP_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "http_tls_cert"
    )]
    pub(crate) client_ca: Option<PathBuf>,
}

impl HttpTlsArgs {
    /// The files, where TLS is configured.
    pub(crate) fn files(&self) -> Option<CertificateFiles> {
        Some(CertificateFiles {
            certificate: self.certificate.clone()?,
            key: self.key.clone()?,
            clients: self.client_ca.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_names_numbers_or_files() {
        for (text, shown) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("localhost:0", "localhost:0"),
            ("[::]:8000", "[::]:8000"),
            ("unix:/run/belljar.sock", "unix:/run/belljar.sock"),
        ] {
            let address: ListenAddress = text.parse().expect("an address");
            assert_eq!(address.to_string(), shown);
        }
        let address: ListenAddress = "h:65000".parse().expect("an address");
        assert_eq!(address.behind(535), Some(ListenAddress::Tcp("h".to_owned(), 65535)));
        assert_eq!(address.behind(536), None);
        let free: ListenAddress = "h:0".parse().expect("an address");
        assert_eq!(free.behind(3), Some(free));
        assert!(tcp_address("unix:/x").is_err() && tcp_address("h:1").is_ok());
        for wrong in ["", "8000", ":8000", "::1:8000", "host:", "host:99999", "unix:"] {
            assert!(wrong.parse::<ListenAddress>().is_err(), "{wrong}");
        }
    }
}
