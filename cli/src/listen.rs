//! Where a gateway listens, and what others must show to be let in.
//!
//! Anyone who reaches the port of a gateway without keys can run code. So a gateway that is reached from beyond this
//! machine requires keys, and TLS, without which a key could be read on its way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use belljar_gateway::audit_log::AuditFile;
use belljar_gateway::policy::PolicyFile;
use belljar_gateway::{Listener, Listeners, Tls};
use rustix::io::Errno;
use tokio::net::{TcpListener, UnixListener};

use crate::args::{KeyUse, ListenAddress, ListenArgs};
use crate::exit::{WithHint, hinted};

/// Who may use a unix socket: its user and its group.
const SOCKET_MODE: u32 = 0o660;
/// What a gateway listens on, and whether it requires keys.
pub(crate) struct Opened {
    pub(crate) listeners: Listeners,
    pub(crate) require_keys: bool,
    /// The addresses, as clients use them.
    pub(crate) urls: Vec<String>,
}

/// Opens all addresses, or refuses.
pub(crate) async fn open(args: &ListenArgs) -> Result<Opened> {
    let mut sockets = Vec::new();
    for address in &args.listen {
        match address {
            ListenAddress::Tcp(..) => {
                for resolved in resolve(address).await? {
                    let listener = TcpListener::bind(resolved).await;
                    sockets.push(Listener::Tcp(
                        listener.map_err(|error| cannot_listen(address, &error))?,
                    ));
                }
            }
            ListenAddress::Unix(path) => sockets.push(Listener::Unix(open_unix(address, path)?)),
        }
    }
    let tls = args.tls.files().map(Tls::load).transpose().context("--tls-cert")?;
    let tcp = sockets.iter().filter_map(|socket| match socket {
        Listener::Tcp(listener) => listener.local_addr().ok(),
        Listener::Unix(_) => None,
    });
    let tcp: Vec<SocketAddr> = tcp.collect();
    let require_keys = protection(args, tcp.iter().map(SocketAddr::ip), tls.is_some())?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let urls = tcp.iter().map(|address| format!("{scheme}://{address}"));
    let files = args.listen.iter().filter(|address| matches!(address, ListenAddress::Unix(_)));
    let urls = urls.chain(files.map(ToString::to_string)).collect();
    Ok(Opened { listeners: Listeners { sockets, tls }, require_keys, urls })
}

/// Opens the first address that a name stands for.
pub(crate) async fn open_tcp(address: &ListenAddress) -> Result<TcpListener> {
    let resolved = resolve(address).await?;
    TcpListener::bind(&*resolved).await.map_err(|error| cannot_listen(address, &error))
}

/// Checks before anything starts that the addresses can be had and are not refused, that the file of tenants is right,
/// and that the audit log can be written.
pub(crate) async fn check(args: &ListenArgs) -> Result<()> {
    for address in &args.listen {
        for resolved in resolve(address).await? {
            TcpListener::bind(resolved).await.map_err(|error| cannot_listen(address, &error))?;
        }
    }
    if let Some(tenants) = &args.tenants {
        PolicyFile::read(tenants)?;
    }
    if let Some(log) = &args.audit_log {
        AuditFile::open(log)?;
    }
    requires_keys(args).await.map(|_| ())
}

/// Whether a gateway with these options requires keys; an error where it does not start.
pub(crate) async fn requires_keys(args: &ListenArgs) -> Result<bool> {
    let mut hosts = Vec::new();
    for address in &args.listen {
        hosts.extend(resolve(address).await?.iter().map(SocketAddr::ip));
    }
    protection(args, hosts.into_iter(), args.tls.files().is_some())
}

/// Whether keys are required; an error where others could reach the gateway without TLS.
fn protection(
    args: &ListenArgs,
    mut hosts: impl Iterator<Item = IpAddr>,
    has_tls: bool,
) -> Result<bool> {
    let are_wanted = args.keys == KeyUse::Required
        || args.tls.client_ca.is_some()
        || args.oidc.oidc_issuer.is_some();
    let beyond = hosts.find(|host| !host.to_canonical().is_loopback());
    let Some(beyond) = beyond.filter(|_| !args.insecure) else {
        return Ok(are_wanted);
    };
    if has_tls {
        return Ok(true);
    }
    Err(anyhow!("other machines reach {beyond}: there a gateway speaks TLS and requires keys")).hint(
        "--tls-cert FILE --tls-key FILE, and `belljar key create` for each client; or --insecure where a \
         proxy or a private network protects it",
    )
}

async fn resolve(address: &ListenAddress) -> Result<Vec<SocketAddr>> {
    let ListenAddress::Tcp(host, port) = address else { return Ok(Vec::new()) };
    let found = tokio::net::lookup_host((host.as_str(), *port)).await;
    let found: Vec<_> = found.map(Iterator::collect).unwrap_or_default();
    if found.is_empty() {
        let hint = "--listen 127.0.0.1:8000 needs no name";
        return Err(hinted(anyhow!("no address is known for `{host}`"), hint))
            .context(format!("cannot listen on {address}"));
    }
    Ok(found)
}

/// Why an address cannot be listened on, in the words of its user.
fn cannot_listen(address: &ListenAddress, error: &io::Error) -> anyhow::Error {
    let (cause, hint) = match error.kind() {
        io::ErrorKind::AddrInUse => {
            ("the address is in use".to_owned(), "--listen 127.0.0.1:0 takes a free port")
        }
        io::ErrorKind::AddrNotAvailable => (
            "this machine has no such address".to_owned(),
            "--listen 127.0.0.1:8000 is always there",
        ),
        io::ErrorKind::PermissionDenied => (
            "permission denied".to_owned(),
            "--listen 127.0.0.1:8000 takes a port that needs no root",
        ),
        _ => (error.to_string(), "--listen ADDR names another address"),
    };
    hinted(anyhow!(cause), hint).context(format!("cannot listen on {address}"))
}

/// A unix socket in place of what a gateway that was killed has left.
fn open_unix(address: &ListenAddress, path: &Path) -> Result<UnixListener> {
    let is_socket = std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket
        && std::os::unix::net::UnixStream::connect(path).is_err_and(|error| is_left(&error))
    {
        std::fs::remove_file(path)
            .with_context(|| format!("cannot remove `{}`", path.display()))?;
    }
    let listener = UnixListener::bind(path).map_err(|error| cannot_listen(address, &error))?;
    let mode = std::fs::Permissions::from_mode(SOCKET_MODE);
    std::fs::set_permissions(path, mode).context("cannot set the mode of the socket")?;
    Ok(listener)
}

fn is_left(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::CONNREFUSED.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::HttpTlsArgs;

    #[test]
    fn beyond_loopback_there_are_keys_and_tls_unless_told() {
        let of = |host: &str, keys, insecure, has_tls| {
            let args = ListenArgs { keys, insecure, ..ListenArgs::default() };
            let hosts = [host.parse().expect("an address")];
            protection(&args, hosts.into_iter(), has_tls).ok()
        };
        for host in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(of(host, KeyUse::Auto, false, false), Some(false), "{host}");
            assert_eq!(of(host, KeyUse::Required, false, false), Some(true), "{host}");
        }
        for host in ["0.0.0.0", "::", "10.0.0.1", "192.0.2.1", "fe80::1", "::ffff:10.0.0.1"] {
            assert_eq!(of(host, KeyUse::Auto, false, false), None, "{host}");
            assert_eq!(of(host, KeyUse::Required, false, false), None, "{host}");
            assert_eq!(of(host, KeyUse::Auto, false, true), Some(true), "{host}");
            assert_eq!(of(host, KeyUse::Auto, true, false), Some(false), "{host}");
            assert_eq!(of(host, KeyUse::Required, true, false), Some(true), "{host}");
        }
        let tls = HttpTlsArgs { client_ca: Some("ca.pem".into()), ..HttpTlsArgs::default() };
        let args = ListenArgs { tls, ..ListenArgs::default() };
        let hosts = ["127.0.0.1".parse().expect("an address")];
        assert_eq!(protection(&args, hosts.into_iter(), true).ok(), Some(true));
    }
}
