//! Pull: two REQ connections in one session. The reply to a request waits at the dispatcher until there is
//! something to say; results that come up meanwhile go with a request over the other.

use std::time::Duration;

use belljar_core::message::{FromWorker, WorkerRegistration, encode};
use belljar_wire::{ConnectionError, Req};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::announced::Announced;
use super::client::WorkerClient;
use super::config::WorkerConfig;
use super::handshake::{Connection, Ended, MISSED, Welcome, owner_of, register};

/// When one socket fails, the reply on the other may take this long. A dispatcher that leaves sends its
/// last acknowledgement on one and closes both.
const LAST_REPLY_TIMEOUT: Duration = Duration::from_millis(100);

/// Two registered REQ sockets: on each it is either our turn, or we wait for a reply.
pub(crate) struct PullConnection {
    announced: Announced,
    idle: Vec<Req>,
    waiting: JoinSet<(Req, Result<Bytes, ConnectionError>)>,
    deadline: Duration,
}

impl Connection for PullConnection {
    async fn open(client: &mut WorkerClient, config: &WorkerConfig) -> Result<Self, Ended> {
        let owner = client.meanwhile(owner_of(config.blobs.as_ref())).await??;
        let registration = client.registration(owner.as_deref());
        let (first, welcome) = client.meanwhile(registered(config, &registration)).await??;
        let announced = client.welcomed(welcome.session, &registration);
        let registration = client.registration(owner.as_deref());
        let (second, again) = client.meanwhile(registered(config, &registration)).await??;
        if again.session != welcome.session {
            return Err(Ended::broken("the dispatcher has changed"));
        }
        let (idle, waiting) = (vec![first, second], JoinSet::new());
        Ok(Self { announced, idle, waiting, deadline: welcome.heartbeat * MISSED })
    }

    async fn exchange(mut self, client: &mut WorkerClient) -> Result<(), Ended> {
        loop {
            if client.is_done() && !self.idle.is_empty() {
                self.request(&[FromWorker::Bye]);
                // Whether it arrived or not, nothing is left to say.
                let _ = self.reply().await;
                return Ok(());
            }
            while !self.idle.is_empty()
                && (self.waiting.is_empty() || client.is_pressing(&self.announced))
            {
                let mut batch = client.messages(&mut self.announced);
                batch.push(FromWorker::Request { free: client.free() });
                client.count_sent();
                self.request(&batch);
            }
            tokio::select! {
                reply = self.reply() => match reply {
                    Ok(reply) => client.handle_message(&reply)?,
                    Err(ended) => {
                        if !self.waiting.is_empty()
                            && let Ok(Ok(reply)) = timeout(LAST_REPLY_TIMEOUT, self.reply()).await
                        {
                            client.handle_message(&reply)?;
                        }
                        return Err(ended);
                    }
                },
                () = client.changes() => {}
            }
        }
    }
}

async fn registered(
    config: &WorkerConfig,
    registration: &WorkerRegistration,
) -> Result<(Req, Welcome), Ended> {
    let mut req = Req::connect(&config.endpoint).await?;
    let welcome = register(&mut req, config, registration).await?;
    Ok((req, welcome))
}

impl PullConnection {
    fn request(&mut self, batch: &[FromWorker]) {
        let Some(mut req) = self.idle.pop() else { return };
        let (request, deadline) = (encode(batch), self.deadline);
        self.waiting.spawn(async move {
            let reply = req.exchange(request, deadline).await;
            (req, reply)
        });
    }

    /// Waits for the next reply. Cancel safe.
    async fn reply(&mut self) -> Result<Bytes, Ended> {
        match self.waiting.join_next().await {
            Some(Ok((req, reply))) => {
                let reply = reply?;
                self.idle.push(req);
                Ok(reply)
            }
            Some(Err(panicked)) => Err(Ended::broken(panicked)),
            None => std::future::pending().await,
        }
    }
}
