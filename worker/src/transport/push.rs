//! Push: one DEALER on which both sides send whenever they have something to say.

use std::time::Duration;

use belljar_core::message::{FromWorker, encode};
use belljar_wire::Dealer;
use tokio::time::{Instant, sleep_until};

use super::announced::Announced;
use super::client::WorkerClient;
use super::config::WorkerConfig;
use super::handshake::{Connection, Ended, MISSED, owner_of, register};

/// A registered DEALER.
pub(crate) struct PushConnection {
    dealer: Dealer,
    announced: Announced,
    heartbeat: Duration,
    sent: Instant,
    received: Instant,
}

impl Connection for PushConnection {
    async fn open(client: &mut WorkerClient, config: &WorkerConfig) -> Result<Self, Ended> {
        let owner = client.meanwhile(owner_of(config.blobs.as_ref())).await??;
        let registration = client.registration(owner.as_deref());
        let connecting = async {
            let mut dealer = Dealer::connect(&config.endpoint).await?;
            let welcome = register(&mut dealer, config, &registration).await?;
            Ok::<_, Ended>((dealer, welcome))
        };
        let (dealer, welcome) = client.meanwhile(connecting).await??;
        let announced = client.welcomed(welcome.session, &registration);
        let (sent, received) = (Instant::now(), Instant::now());
        Ok(Self { dealer, announced, heartbeat: welcome.heartbeat, sent, received })
    }

    async fn exchange(mut self, client: &mut WorkerClient) -> Result<(), Ended> {
        loop {
            loop {
                let batch = client.messages(&mut self.announced);
                if batch.is_empty() {
                    break;
                }
                client.count_sent();
                self.send(&batch).await?;
            }
            if client.is_done() {
                self.send(&[FromWorker::Bye]).await?;
                self.dealer.close().await;
                return Ok(());
            }
            let silent = self.sent + self.heartbeat;
            let lost = self.received + self.heartbeat * MISSED;
            tokio::select! {
                message = self.dealer.recv() => {
                    client.handle_message(&message?)?;
                    self.received = Instant::now();
                }
                () = client.gathered_changes() => {}
                () = sleep_until(silent.min(lost)) => {
                    if lost <= Instant::now() {
                        return Err(Ended::broken("the dispatcher is silent"));
                    }
                    client.count_sent();
                    self.send(&[FromWorker::Heartbeat]).await?;
                }
            }
        }
    }
}

impl PushConnection {
    async fn send(&mut self, batch: &[FromWorker]) -> Result<(), Ended> {
        self.dealer.send(encode(batch)).await?;
        self.sent = Instant::now();
        Ok(())
    }
}
