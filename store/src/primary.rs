//! Which server is asked: the one that the URL names, or the one that sentinels name at this moment.
//!
//! Sentinels are asked whenever a connection is opened, so that after a failover whatever lost its connection finds
//! the new primary by connecting again. Not the client's own sentinel support: it takes the first answer, which may be that of
//! a sentinel which has not heard of the failover, or which sees the old primary come back while it is going on.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::time::timeout;

use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::server::{client, shown_url};

/// How long a sentinel, or the server that it names, may take to answer.
const SENTINEL_TIMEOUT: Duration = Duration::from_millis(500);
/// The port of a sentinel whose address has none.
const SENTINEL_PORT: &str = ":26379";

/// Where the server is.
pub(crate) enum Primary {
    /// Always there.
    Fixed(Client),
    /// Where these say.
    Sentinels(Sentinels),
}

impl Primary {
    /// The server of a configuration.
    ///
    /// # Errors
    /// The URL or a certificate is of no use.
    pub(crate) fn new(config: &StoreConfig) -> Result<Self, StoreError> {
        if !config.url.contains("+sentinel:") {
            return client(&config.url, &config.tls).map(Self::Fixed);
        }
        let url = SentinelUrl::read(&config.url);
        let url = url.ok_or_else(|| StoreError::Url { url: shown_url(&config.url) })?;
        let of_sentinel = |login: &str, host: &String| {
            client(&format!("{}://{login}{host}", url.scheme), &config.tls)
        };
        let sentinels = url.hosts.iter().map(|host| {
            let with_login = (!url.login.is_empty()).then(|| of_sentinel(&url.login, host));
            Ok(Sentinel { plain: of_sentinel("", host)?, with_login: with_login.transpose()? })
        });
        let sentinels = sentinels.collect::<Result<_, StoreError>>()?;
        Ok(Self::Sentinels(Sentinels { sentinels, url, config: config.clone() }))
    }

    /// The number of the database.
    pub(crate) fn database(&self) -> i64 {
        match self {
            Self::Fixed(client) => client.get_connection_info().redis_settings().db(),
            Self::Sentinels(sentinels) => sentinels.url.database,
        }
    }

    /// What opens connections to it now.
    ///
    /// # Errors
    /// No sentinel names a server that is a primary.
    pub(crate) async fn client(&self) -> Result<Client, RedisError> {
        match self {
            Self::Fixed(client) => Ok(client.clone()),
            Self::Sentinels(sentinels) => sentinels.primary().await,
        }
    }
}

/// Sentinels, and what they are asked for.
pub(crate) struct Sentinels {
    sentinels: Vec<Sentinel>,
    url: SentinelUrl,
    config: StoreConfig,
}

struct Sentinel {
    plain: Client,
    /// For one that wants a password: that of the servers.
    with_login: Option<Client>,
}

/// What a sentinel says of the primary.
#[derive(Debug)]
struct View {
    address: String,
    /// The number of the last failover that it knows of.
    epoch: u64,
    /// Whether it is promoting another one now.
    fails_over: bool,
}

impl View {
    /// Reads the answer to `SENTINEL MASTER`.
    fn read(fields: &HashMap<String, String>) -> Option<Self> {
        let (host, port) = (fields.get("ip")?, fields.get("port")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        Some(Self {
            address: format!("{host}:{port}"),
            epoch: fields.get("config-epoch")?.parse().ok()?,
            fails_over: fields.get("flags")?.contains("failover_in_progress"),
        })
    }
}

impl Sentinels {
    async fn primary(&self) -> Result<Client, RedisError> {
        let address = self.named().await?;
        timeout(SENTINEL_TIMEOUT, self.checked(&address)).await.unwrap_or_else(|_| Err(timed_out()))
    }

    /// The address that the sentinel names which knows of the latest failover. None is taken while one is going on: the old primary
    /// may be back and take writes that it will forget.
    async fn named(&self) -> Result<String, RedisError> {
        let ask = |sentinel| timeout(SENTINEL_TIMEOUT, self.ask(sentinel));
        let (mut views, mut failure) = (Vec::new(), None);
        for answer in join_all(self.sentinels.iter().map(ask)).await {
            match answer.unwrap_or_else(|_| Err(timed_out())) {
                Ok(view) => views.extend(view),
                Err(error) => failure = Some(error),
            }
        }
        let name = &self.url.name;
        let latest = views.into_iter().max_by_key(|view| (view.epoch, view.fails_over));
        let latest = latest.ok_or_else(|| {
            let text = format!("the sentinels know no primary of the name `{name}`");
            failure.unwrap_or_else(|| std::io::Error::other(text).into())
        })?;
        if latest.fails_over {
            let text = format!("the sentinels promote another primary of the name `{name}`");
            return Err(std::io::Error::other(text).into());
        }
        Ok(latest.address)
    }

    /// What a sentinel says, if it knows the name.
    async fn ask(&self, sentinel: &Sentinel) -> Result<Option<View>, RedisError> {
        let answer = match (self.ask_by(&sentinel.plain).await, &sentinel.with_login) {
            (Err(error), Some(with_login)) if error.code() == Some("NOAUTH") => {
                self.ask_by(with_login).await
            }
            (answer, _) => answer,
        };
        match answer {
            Ok(fields) => Ok(View::read(&fields)),
            Err(error) if error.detail().is_some_and(|why| why.contains("No such master")) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn ask_by(&self, client: &Client) -> Result<HashMap<String, String>, RedisError> {
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("MASTER").arg(&self.url.name).query_async(&mut open(client).await?).await
    }

    /// The server at an address, if it is a primary: one that was is a replica after a failover, or about to be.
    async fn checked(&self, address: &str) -> Result<Client, RedisError> {
        let SentinelUrl { scheme, login, database, .. } = &self.url;
        let found = client(&format!("{scheme}://{login}{address}/{database}"), &self.config.tls);
        let found = found.map_err(std::io::Error::other)?;
        let mut info = redis::cmd("INFO");
        let info: String = info.arg("replication").query_async(&mut open(&found).await?).await?;
        if info.contains("role:master") {
            return Ok(found);
        }
        Err(std::io::Error::other(format!("{address} is no primary")).into())
    }
}

/// The error of what does not answer.
pub(crate) fn timed_out() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}

async fn open(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(SENTINEL_TIMEOUT))
        .set_response_timeout(Some(SENTINEL_TIMEOUT));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// `redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]]*/NAME[/DATABASE]`, or the same with `rediss`.
#[derive(Debug, PartialEq, Eq)]
struct SentinelUrl {
    /// `redis` or `rediss`.
    scheme: String,
    /// `USER:PASSWORD@`, or nothing.
    login: String,
    /// `HOST:PORT` of each sentinel.
    hosts: Vec<String>,
    /// How the sentinels name the primary.
    name: String,
    database: i64,
}

impl SentinelUrl {
    fn read(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("+sentinel://")?;
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (format!("{login}@"), rest),
            None => (String::new(), rest),
        };
        let (hosts, path) = rest.split_once('/')?;
        let (name, database) = path.split_once('/').unwrap_or((path, "0"));
        let with_port = |host: &str| match host.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
            _ => format!("{host}{SENTINEL_PORT}"),
        };
        let hosts: Vec<_> = hosts.split(',').map(with_port).collect();
        let database = database.parse().ok()?;
        let is_whole = matches!(scheme, "redis" | "rediss")
            && !name.is_empty()
            && !name.contains('?')
            && hosts.iter().all(|host| !host.starts_with(':'));
        let (scheme, name) = (scheme.to_owned(), name.to_owned());
        is_whole.then_some(Self { scheme, login, hosts, name, database })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_names_sentinels_and_what_they_are_asked_for() {
        let read = |url: &str| SentinelUrl::read(url).expect("a URL");
        let whole = read("rediss+sentinel://u:p@a:1,b,[::1]:2/main/3");
        assert_eq!((&*whole.scheme, &*whole.login, &*whole.name), ("rediss", "u:p@", "main"));
        assert_eq!((whole.hosts.join(" "), whole.database), ("a:1 b:26379 [::1]:2".to_owned(), 3));
        let short = read("redis+sentinel://a/main");
        assert_eq!((&*short.login, short.hosts.join(" ").as_str()), ("", "a:26379"));
        for wrong in ["a/", "a", "/main", "a,/main", "a/main/x", "a/main?db=1"] {
            assert_eq!(SentinelUrl::read(&format!("redis+sentinel://{wrong}")), None, "{wrong}");
        }
        assert_eq!(SentinelUrl::read("http+sentinel://a/main"), None);
    }
}
