//! Confirmations that replicas have what was written.
//!
//! `WAIT` keeps the connection busy that sends it, and is about the writes of that connection only: nothing for the
//! connection that all commands share. But replicas get the writes of a server as one stream, so that one which has a write
//! has all earlier ones. A connection of its own therefore looks whether the records in question are there, adds a message to the
//! stream, and waits for that. All that ask meanwhile share the next round.
//!
//! To look first is essential: after a failover the message would be confirmed by a server that never had the record.

use std::iter::zip;
use std::sync::Arc;
use std::time::Duration;

use backon::BackoffBuilder as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use crate::Store;
use crate::config::StoreConfig;
use crate::connection::{BACKOFF, LAST_PAUSE};
use crate::error::StoreError;
use crate::keys::{Keys, TOPIC_CONFIRM};
use crate::primary::{Primary, timed_out};

/// How many confirmations one round is for at most.
const AT_ONCE: usize = 1_000;

/// Where confirmations are asked for.
pub(crate) struct Confirmer {
    sender: mpsc::UnboundedSender<Pending>,
    wanted: u8,
}

/// A record that replicas are to have, and who waits for that.
struct Pending {
    key: String,
    /// How many replicas have it; none where the server does not have it itself.
    answer: oneshot::Sender<u64>,
}

impl Confirmer {
    /// Starts one, if a number of replicas is asked for. It ends when it is dropped.
    pub(crate) fn start(primary: &Arc<Primary>, config: &StoreConfig, keys: &Keys) -> Option<Self> {
        let wanted = config.replicas;
        if wanted == 0 {
            return None;
        }
        let (sender, mut asked) = mpsc::unbounded_channel();
        let mut rounds = Rounds {
            primary: Arc::clone(primary),
            connection: None,
            channel: keys.channel(TOPIC_CONFIRM),
            wanted,
            patience: config.replica_timeout,
            timeout: config.timeout,
        };
        tokio::spawn(async move {
            let mut group: Vec<Pending> = Vec::new();
            while asked.recv_many(&mut group, AT_ONCE).await > 0 {
                let keys: Vec<_> = group.iter().map(|pending| &*pending.key).collect();
                let confirmed = rounds.confirm(&keys).await;
                for (pending, replicas) in zip(group.drain(..), confirmed) {
                    // Nobody waits any more where the request was given up.
                    let _ = pending.answer.send(replicas);
                }
            }
        });
        Some(Self { sender, wanted })
    }
}

impl Store {
    /// Waits until as many replicas have this record as the deployment asks for: for none by default.
    ///
    /// # Errors
    /// They do not in time: [`StoreError::Unconfirmed`].
    pub(crate) async fn confirm(&self, key: impl FnOnce() -> String) -> Result<(), StoreError> {
        let Some(Confirmer { sender, wanted }) = &self.inner.confirmer else { return Ok(()) };
        let (answer, confirmed) = oneshot::channel();
        // Without a receiver the runtime is ending: nothing is confirmed then.
        let _ = sender.send(Pending { key: key(), answer });
        let (confirmed, wanted) = (confirmed.await.unwrap_or(0), u64::from(*wanted));
        if confirmed < wanted {
            return Err(StoreError::Unconfirmed { confirmed, wanted });
        }
        Ok(())
    }
}

/// Round after round over a connection of its own.
struct Rounds {
    primary: Arc<Primary>,
    connection: Option<MultiplexedConnection>,
    channel: String,
    wanted: u8,
    /// How long replicas may take.
    patience: Duration,
    /// How long the server may take to answer, with all tries.
    timeout: Duration,
}

impl Rounds {
    /// How many replicas have each of these records, as far as they say so in time.
    async fn confirm(&mut self, keys: &[&str]) -> Vec<u64> {
        let deadline = Instant::now() + self.timeout;
        let mut pauses = BACKOFF.build();
        loop {
            let error = match timeout_at(deadline, self.ask(keys)).await {
                Ok(Ok(confirmed)) => return confirmed,
                Ok(Err(error)) => error,
                Err(_) => timed_out(),
            };
            debug!(%error, "replicas could not be asked");
            if Instant::now() + LAST_PAUSE >= deadline {
                return vec![0; keys.len()];
            }
            sleep(pauses.next().unwrap_or(LAST_PAUSE)).await;
        }
    }

    async fn ask(&mut self, keys: &[&str]) -> Result<Vec<u64>, RedisError> {
        let mut connection = match self.connection.take() {
            Some(open) => open,
            None => self.open().await?,
        };
        let mut round = redis::pipe();
        for key in keys {
            round.cmd("EXISTS").arg(key);
        }
        // A message goes to the replicas and into no file, and needs no memory.
        round.cmd("PUBLISH").arg(&self.channel).arg("").ignore();
        round.cmd("WAIT").arg(self.wanted).arg(self.patience.as_millis());
        let mut answers: Vec<u64> = round.query_async(&mut connection).await?;
        self.connection = Some(connection);
        let replicas = answers.pop().unwrap_or_default();
        Ok(answers.into_iter().map(|exists| exists * replicas).collect())
    }

    async fn open(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        self.primary.client().await?.get_multiplexed_async_connection_with_config(&config).await
    }
}
