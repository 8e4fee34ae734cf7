//! One multiplexed connection that reconnects by itself.
//!
//! Not the client's own `ConnectionManager`: that one keeps a half-open connection after a timeout and
//! a replica after a failover, and its callers wait for its whole backoff. Here every command has one
//! deadline, a connection that timed out or turned read-only is replaced, and each command says whether
//! it may be repeated.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use belljar_stream::UnixStream;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, RedisError, ServerErrorKind, Value,
};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::error::{StoreError, WriteRefusal};
use crate::primary::{Primary, timed_out};

/// The pause before the second try; opening a connection is not tried more often than that.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause between tries: short, so that a server that is back is found at once.
pub(crate) const LAST_PAUSE: Duration = Duration::from_millis(250);
/// The pauses between tries.
pub(crate) const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(FIRST_PAUSE)
    .with_max_delay(LAST_PAUSE)
    .without_max_times();

/// How many commands may wait for the writing task before callers do.
const WRITE_QUEUE: usize = 1024;

/// Whether a command may be sent again when its answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Its second run answers as the first did, and changes nothing.
    Safe,
    /// It would be done twice: sent again only where the server surely did not run it.
    Unsafe,
}

/// What a failed command says about the way on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// The server did not run it and may soon: it loads, fails over, or is not there.
    NotRun,
    /// It may have run.
    Unknown,
    /// The script is not in the server's cache.
    NoScript,
    /// Trying again is of no use.
    Final,
}

/// Why a command has no answer.
pub(crate) struct QueryError {
    pub(crate) error: RedisError,
    /// Whether the server may have run the command.
    pub(crate) may_have_run: bool,
}

/// The connection, shared by all handles of a store.
pub(crate) struct SharedConnection {
    primary: Arc<Primary>,
    timeout: Duration,
    current: Mutex<Current>,
    opening: tokio::sync::Mutex<()>,
    requests: AtomicU64,
    failures: AtomicU64,
    microseconds: AtomicU64,
}

/// How many requests went to the server, and how long they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that ended.
    pub requests: u64,
    /// Those that were not answered, or refused.
    pub failures: u64,
    /// The time of all together, with their tries.
    pub microseconds: u64,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Counts connections: a late failure of an old one must not close its successor.
    generation: u64,
    /// When opening failed last and why: a thousand waiting commands try once, not in turn.
    failure: Option<(Instant, RedisError)>,
}

impl SharedConnection {
    pub(crate) fn new(primary: Arc<Primary>, timeout: Duration) -> Self {
        let opening = tokio::sync::Mutex::new(());
        let [requests, failures, microseconds] = [const { AtomicU64::new(0) }; 3];
        let current = Mutex::default();
        Self { primary, timeout, current, opening, requests, failures, microseconds }
    }

    /// Sends a command until it is answered or the deadline has passed. `script` is loaded where the
    /// server does not know it.
    pub(crate) async fn query(
        &self,
        command: &Cmd,
        script: Option<&redis::Script>,
        repeat: Repeat,
    ) -> Result<Value, QueryError> {
        let started = Instant::now();
        let answer = self.try_until(started + self.timeout, command, script, repeat).await;
        let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(answer.is_err().into(), Ordering::Relaxed);
        self.microseconds.fetch_add(took, Ordering::Relaxed);
        answer
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            microseconds: self.microseconds.load(Ordering::Relaxed),
        }
    }

    async fn try_until(
        &self,
        deadline: Instant,
        command: &Cmd,
        script: Option<&redis::Script>,
        repeat: Repeat,
    ) -> Result<Value, QueryError> {
        let mut may_have_run = false;
        let mut before = None;
        let mut pauses = BACKOFF.build();
        loop {
            let (generation, error) = match timeout_at(deadline, self.connection()).await {
                Ok(Ok((generation, mut connection))) => {
                    match timeout_at(deadline, connection.send_packed_command(command)).await {
                        Ok(Ok(answer)) => match answer.extract_error() {
                            Ok(answer) => return Ok(answer),
                            Err(error) => (Some(generation), error),
                        },
                        Ok(Err(error)) => (Some(generation), error),
                        Err(_) => (Some(generation), timed_out()),
                    }
                }
                Ok(Err(error)) => (None, error),
                // What failed before says more than that there was no time to fail again.
                Err(_) => {
                    let error = before.unwrap_or_else(timed_out);
                    return Err(QueryError { error, may_have_run });
                }
            };
            let failed = classify(&error, generation.is_some());
            may_have_run |= failed == Failed::Unknown;
            if let (Some(generation), true) = (generation, breaks_connection(&error)) {
                self.drop_connection(generation);
            }
            match (failed, script) {
                (Failed::NoScript, Some(script)) => {
                    let loaded = self.load(script, deadline).await;
                    loaded.map_err(|error| QueryError { error, may_have_run })?;
                    continue;
                }
                (Failed::NoScript | Failed::Final, _) => {
                    return Err(QueryError { error, may_have_run });
                }
                (Failed::Unknown, _) if repeat == Repeat::Unsafe => {
                    return Err(QueryError { error, may_have_run });
                }
                (Failed::NotRun | Failed::Unknown, _) => {}
            }
            let next_try = Instant::now() + pauses.next().unwrap_or(LAST_PAUSE);
            if next_try >= deadline {
                return Err(QueryError { error, may_have_run });
            }
            before = Some(error);
            sleep_until(next_try).await;
        }
    }

    async fn load(&self, script: &redis::Script, deadline: Instant) -> Result<(), RedisError> {
        let (_, mut connection) =
            timeout_at(deadline, self.connection()).await.map_err(|_| timed_out())??;
        let load = script.load_async(&mut connection);
        timeout_at(deadline, load).await.map_err(|_| timed_out())??;
        Ok(())
    }

    /// The open connection, or a new one.
    async fn connection(&self) -> Result<(u64, MultiplexedConnection), RedisError> {
        if let Some(open) = self.open_connection() {
            return Ok(open);
        }
        let _one_at_a_time = self.opening.lock().await;
        if let Some(open) = self.open_connection() {
            return Ok(open);
        }
        if let Some((at, error)) = &self.current().failure
            && at.elapsed() < FIRST_PAUSE
        {
            return Err(error.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
            .set_pipeline_buffer_size(WRITE_QUEUE);
        let opened = match self.primary.client().await {
            Ok(client) => open(&client, config).await,
            Err(error) => Err(error),
        };
        let mut current = self.current();
        match opened {
            Ok(connection) => {
                current.generation += 1;
                current.failure = None;
                current.connection = Some(connection.clone());
                Ok((current.generation, connection))
            }
            Err(error) => {
                current.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn open_connection(&self) -> Option<(u64, MultiplexedConnection)> {
        let current = self.current();
        current.connection.clone().map(|connection| (current.generation, connection))
    }

    fn drop_connection(&self, generation: u64) {
        let mut current = self.current();
        if current.generation == generation {
            current.connection = None;
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What opens connections to the server now.
    pub(crate) async fn client(&self) -> Result<redis::Client, RedisError> {
        self.primary.client().await
    }
}

/// Opens a connection.
async fn open(
    client: &redis::Client,
    config: AsyncConnectionConfig,
) -> Result<MultiplexedConnection, RedisError> {
    let info = client.get_connection_info();
    let ConnectionAddr::Unix(path) = info.addr() else {
        return client.get_multiplexed_async_connection_with_config(&config).await;
    };
    // What listens here has an answer for each command: to be woken for anything else costs both sides time.
    let stream = UnixStream::connect(path).await?;
    let opening = MultiplexedConnection::new_with_config(info.redis_settings(), stream, config);
    let (connection, driver) = opening.await?;
    // It ends with the last handle of the connection.
    tokio::spawn(driver);
    Ok(connection)
}

/// The error for the caller of a failed command.
pub(crate) fn to_store_error(what: &'static str, error: RedisError) -> StoreError {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            StoreError::RefusesWrites(WriteRefusal::of(&error), error)
        }
        ErrorKind::Extension
            if matches!(error.code(), Some("OOM" | "MISCONF" | "NOREPLICAS" | "NOSPACE")) =>
        {
            StoreError::RefusesWrites(WriteRefusal::of(&error), error)
        }
        ErrorKind::Extension if error.code() == Some("BUSY") => StoreError::Unreachable(error),
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::AuthenticationFailed
        | ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain,
        ) => StoreError::Unreachable(error),
        _ => StoreError::Unexpected { what, source: error },
    }
}

fn classify(error: &RedisError, sent: bool) -> Failed {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoScript) => Failed::NoScript,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ReadOnly,
        ) => Failed::NotRun,
        ErrorKind::Extension if error.code() == Some("BUSY") => Failed::NotRun,
        ErrorKind::Io | ErrorKind::Parse if sent => Failed::Unknown,
        ErrorKind::Io => Failed::NotRun,
        _ => Failed::Final,
    }
}

/// Whether the connection is of no use any more: cut, silent, out of step, or to a replica.
fn breaks_connection(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::Server(ServerErrorKind::ReadOnly)
    )
}
