//! Whether a server is fit to hold tasks.

use redis::{ErrorKind, InfoDict};
use tracing::warn;

use crate::Store;
use crate::error::StoreError;

/// The oldest release whose scripts have flags. Debian 12 brings it.
const OLDEST: (u64, u64) = (7, 0);

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
    if info.get::<String>("redis_mode").as_deref() == Some("cluster") {
        return Err(unsuitable(
            "it is a cluster, whose parts cannot change together: use a single server".to_owned(),
        ));
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
    Ok(())
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
