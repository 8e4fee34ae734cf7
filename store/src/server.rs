//! Whether a server is fit to hold tasks.

use std::io;
use std::path::PathBuf;

use belljar_core::id::TaskId;
use redis::{
    Client, ClientTlsConfig, ErrorKind, InfoDict, IntoConnectionInfo as _, TlsCertificates,
};
use tracing::warn;

use crate::Store;
use crate::blobs::Blobs;
use crate::bucket::Bucket;
use crate::config::{StoreConfig, StoreTls};
use crate::error::StoreError;
use crate::keys;
use crate::layout::{FORMAT, UNDERSTOOD};

/// The oldest release whose scripts have flags. Debian 12 brings it.
const OLDEST: (u64, u64) = (7, 0);

/// What opens connections.
pub(crate) fn client(url: &str, tls: &StoreTls) -> Result<Client, StoreError> {
    let is_plain = tls.ca.is_none() && tls.own.is_none();
    let no_url = |_| StoreError::Url { url: shown_url(url) };
    if is_plain {
        return Client::open(url).map_err(no_url);
    }
    if !url.starts_with("rediss://") {
        return Err(StoreError::TlsUnused { url: shown_url(url) });
    }
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| StoreError::TlsFile { path: path.clone(), source })
    };
    let own = tls.own.as_ref().map(|(certificate, key)| {
        Ok(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
    });
    let certificates = TlsCertificates {
        client_tls: own.transpose()?,
        root_cert: tls.ca.as_ref().map(read).transpose()?,
    };
    url.into_connection_info().map_err(no_url)?;
    Client::build_with_tls(url, certificates)
        .map_err(|source| StoreError::Certificates { url: shown_url(url), source })
}

/// Refuses a server that would lose or cannot run what we rely on, and warns of one that forgets.
pub(crate) async fn check(store: &Store) -> Result<(), StoreError> {
    let info: InfoDict = store
        .ask("INFO", &redis::cmd("INFO"))
        .await
        .map_err(|error| connect_error(&store.inner.config.url, error))?;
    let unsuitable =
        |why: String| StoreError::Unsuitable { url: shown_url(&store.inner.config.url), why };

    let version: String = info.get("redis_version").unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse::<u64>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < OLDEST {
        let (major, minor) = OLDEST;
        return Err(unsuitable(format!(
            "its version is {version}, and {major}.{minor} is the oldest that will do: upgrade it"
        )));
    }
    // Valkey has the second name.
    let mode = info.get::<String>("redis_mode").or_else(|| info.get("server_mode"));
    match mode.as_deref() {
        Some("cluster") => {
            let why = "it is a cluster, whose parts cannot change together: use a single server";
            return Err(unsuitable(why.to_owned()));
        }
        Some("sentinel") => {
            let why = "it is a sentinel: use redis+sentinel://HOST:PORT/NAME, with the name of the primary";
            return Err(unsuitable(why.to_owned()));
        }
        _ => {}
    }
    match info.get::<String>("maxmemory_policy").as_deref() {
        Some("noeviction") => {}
        Some(policy) => {
            return Err(unsuitable(format!(
                "its eviction policy is `{policy}`, which throws accepted tasks away when memory is \
                 full: set `maxmemory-policy noeviction`"
            )));
        }
        None => warn!("the server does not tell its eviction policy: make sure it is noeviction"),
    }
    if info.get::<u8>("aof_enabled") != Some(1) {
        warn!(
            "the server keeps no append-only file: a crash of it loses accepted tasks (set \
             `appendonly yes`)"
        );
    }
    check_format(store).await
}

/// What directories and buckets of this deployment say, as far as the server has room for it.
pub(crate) async fn deployment(store: &Store) -> Result<Option<String>, StoreError> {
    mark(store, keys::DEPLOYMENT, &TaskId::random().to_string()).await
}

/// Writes a mark that is not there yet, and reads it. A server that takes no writes now is marked at a later start: what
/// frees its memory must be able to start.
async fn mark(store: &Store, name: &str, value: &str) -> Result<Option<String>, StoreError> {
    let key = store.inner.keys.key(name);
    let read: Option<String> = store.ask("GET", redis::cmd("GET").arg(&key)).await?;
    if read.is_some() {
        return Ok(read);
    }
    write_mark(store, redis::cmd("SET").arg(&key).arg(value).arg("NX")).await?;
    // Another process may have been first.
    store.ask("GET", redis::cmd("GET").arg(&key)).await
}

async fn write_mark(store: &Store, command: &redis::Cmd) -> Result<(), StoreError> {
    match store.ask::<Option<String>>("SET", command).await {
        Ok(_) | Err(StoreError::RefusesWrites(..)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Refuses what a program with another layout has written, and marks what is new.
async fn check_format(store: &Store) -> Result<(), StoreError> {
    let own = FORMAT.to_string();
    let Some(found) = mark(store, keys::FORMAT, &own).await?.filter(|found| *found != own) else {
        return Ok(());
    };
    if UNDERSTOOD.iter().any(|older| found == older.to_string()) {
        // From now on there may be what the older program does not understand.
        let key = store.inner.keys.key(keys::FORMAT);
        return write_mark(store, redis::cmd("SET").arg(&key).arg(own)).await;
    }
    let StoreConfig { url, prefix, .. } = &store.inner.config;
    Err(StoreError::Format { url: shown_url(url), prefix: prefix.clone(), found })
}

/// Takes the directory of blobs for this deployment, unless it is another's: the files of one are what no key of the other refers
/// to.
pub(crate) async fn own_blobs(store: &Store) -> Result<(), StoreError> {
    let files = match &store.inner.blobs {
        None => return Ok(()),
        Some(Blobs::Bucket(bucket)) => return own_bucket_if_there(store, bucket).await,
        Some(Blobs::Directory(files)) => files,
    };
    let Some(own) = deployment(store).await? else {
        return Ok(());
    };
    let StoreConfig { url, prefix, .. } = &store.inner.config;
    files.own(&own).map_err(|source| {
        let directory = files.directory().to_owned();
        match source.kind() {
            io::ErrorKind::AlreadyExists => StoreError::BlobsOfAnother {
                place: directory.display().to_string(),
                url: shown_url(url),
                prefix: prefix.clone(),
            },
            _ => StoreError::BlobDirectory { directory, source },
        }
    })
}

/// The same of a bucket. One that is away is asked later: what needs it fails until then, and nothing else does.
async fn own_bucket_if_there(store: &Store, bucket: &Bucket) -> Result<(), StoreError> {
    match own_bucket(store, bucket).await {
        Err(StoreError::BucketAway { source, bucket }) => match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                Err(StoreError::Bucket { bucket, source })
            }
            _ => {
                warn!(%bucket, "the bucket for large values does not answer: {source}");
                Ok(())
            }
        },
        owned => owned,
    }
}

/// Takes the bucket for this deployment, unless it is another's.
pub(crate) async fn own_bucket(store: &Store, bucket: &Bucket) -> Result<(), StoreError> {
    let Some(own) = deployment(store).await? else {
        return Ok(());
    };
    let StoreConfig { url, prefix, .. } = &store.inner.config;
    bucket.own(&own).await.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => StoreError::BlobsOfAnother {
            place: bucket.url(),
            url: shown_url(url),
            prefix: prefix.clone(),
        },
        _ => StoreError::BucketAway { bucket: bucket.url(), source },
    })
}

/// Makes a change that leaves nothing behind, for the error of a server that takes none.
pub(crate) async fn probe_writes(store: &Store) -> Result<(), StoreError> {
    let mut command = redis::cmd("SET");
    command.arg(store.inner.keys.key("takes-writes")).arg(1).arg("PX").arg(1);
    store.ask("SET", &command).await
}

/// The same, where a server that takes no writes cannot be used.
pub(crate) async fn check_writes(store: &Store) -> Result<(), StoreError> {
    probe_writes(store).await.map_err(|error| match error {
        StoreError::RefusesWrites(why, _) => {
            let url = shown_url(&store.inner.config.url);
            StoreError::Unsuitable { url, why: format!("it refuses writes: {why}") }
        }
        error => error,
    })
}

/// The first error of a server, with its URL and in the words of its user.
fn connect_error(url: &str, error: StoreError) -> StoreError {
    let (StoreError::Unreachable(source) | StoreError::Unexpected { source, .. }) = error else {
        return error;
    };
    let why = match source.code() {
        Some("NOAUTH") => "wants a password",
        Some("WRONGPASS") => "refuses this password",
        _ if source.kind() == ErrorKind::AuthenticationFailed => "refuses this password",
        _ if source.kind() == ErrorKind::Io => "does not answer",
        _ => "does not answer as expected",
    };
    StoreError::Connect { url: shown_url(url), why, source }
}

/// The address without its password.
pub(crate) fn shown_url(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(shown_url("redis://u:secret@h:1/0"), "redis://h:1/0");
        assert_eq!(shown_url("redis://h:1/0"), "redis://h:1/0");
    }
}
