//! Push: one DEALER on which both sides say what they have to say when it comes up.

use belljar_core::message::{FromWorker, encode};
use belljar_wire::Dealer;
use tokio::time::{Instant, sleep_until};

use super::WorkerConfig;
use super::crew::Crew;
use super::link::{Ended, MISSED, Welcome, register};

/// Serves over one connection, until it ends.
pub(crate) async fn serve(crew: &mut Crew, config: &WorkerConfig) -> Ended {
    let registration = crew.registration();
    let connecting = async {
        let mut dealer = Dealer::connect(&config.endpoint).await?;
        let welcome = register(&mut dealer, config, &registration).await?;
        Ok::<_, Ended>((dealer, welcome))
    };
    let (dealer, welcome) = match crew.meanwhile(connecting).await {
        Ok(connected) => connected,
        Err(ended) => return ended,
    };
    tracing::info!(endpoint = %config.endpoint.endpoint, "registered");
    crew.welcomed(welcome.session, &registration);
    match exchange(crew, dealer, welcome).await {
        Ok(()) => Ended::Done,
        Err(ended) => ended.after_service(),
    }
}

async fn exchange(crew: &mut Crew, mut dealer: Dealer, welcome: Welcome) -> Result<(), Ended> {
    let heartbeat = welcome.heartbeat;
    let (mut said, mut heard) = (Instant::now(), Instant::now());
    loop {
        loop {
            let batch = crew.messages();
            if batch.is_empty() {
                break;
            }
            dealer.send(encode(&batch)).await?;
            said = Instant::now();
        }
        if crew.is_done() {
            dealer.send(encode(&[FromWorker::Bye])).await?;
            dealer.close().await;
            return Ok(());
        }
        let (silent, lost) = (said + heartbeat, heard + heartbeat * MISSED);
        tokio::select! {
            message = dealer.recv() => {
                crew.heed(&message?)?;
                heard = Instant::now();
            }
            () = crew.gathered_changes() => {}
            () = sleep_until(silent.min(lost)) => {
                if lost <= Instant::now() {
                    return Err(Ended::broken("the dispatcher is silent"));
                }
                dealer.send(encode(&[FromWorker::Heartbeat])).await?;
                said = Instant::now();
            }
        }
    }
}
