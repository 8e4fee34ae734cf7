//! Pull: two REQ connections in one session. The reply to a request waits at the dispatcher until
//! there is something to be told; results that come up meanwhile ride on a request over the other.

use std::time::Duration;

use belljar_core::message::{FromWorker, encode};
use belljar_wire::{Broken, Req};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::WorkerConfig;
use super::crew::Crew;
use super::link::{Ended, MISSED, Welcome, register};

/// Serves over two connections, until either ends.
pub(crate) async fn serve(crew: &mut Crew, config: &WorkerConfig) -> Ended {
    match connect_and_exchange(crew, config).await {
        Ok(()) => Ended::Done,
        Err(ended) => ended,
    }
}

async fn connect_and_exchange(crew: &mut Crew, config: &WorkerConfig) -> Result<(), Ended> {
    let registration = crew.registration();
    let connecting = async {
        let mut req = Req::connect(&config.endpoint).await?;
        let welcome = register(&mut req, config, &registration).await?;
        Ok::<_, Ended>((req, welcome))
    };
    let (first, welcome) = crew.meanwhile(connecting).await?;
    crew.welcomed(welcome.session, &registration);
    let registration = crew.registration();
    let connecting = async {
        let mut req = Req::connect(&config.endpoint).await?;
        let Welcome { session, .. } = register(&mut req, config, &registration).await?;
        if session != welcome.session {
            return Err(Ended::broken("the dispatcher has changed"));
        }
        Ok(req)
    };
    let second = crew.meanwhile(connecting).await?;
    tracing::info!(endpoint = %config.endpoint.endpoint, "registered");
    let lines = Lines {
        idle: vec![first, second],
        asking: JoinSet::new(),
        deadline: welcome.heartbeat * MISSED,
    };
    exchange(crew, lines).await.map_err(Ended::after_service)
}

/// The connections of a session: at each either it is our turn or we wait for a reply.
struct Lines {
    idle: Vec<Req>,
    asking: JoinSet<(Req, Result<Bytes, Broken>)>,
    deadline: Duration,
}

impl Lines {
    fn ask(&mut self, batch: &[FromWorker]) {
        let Some(mut req) = self.idle.pop() else { return };
        let (request, deadline) = (encode(batch), self.deadline);
        self.asking.spawn(async move {
            let reply = req.exchange(request, deadline).await;
            (req, reply)
        });
    }

    /// Waits for the next reply. Cancel safe.
    async fn reply(&mut self) -> Result<Bytes, Ended> {
        match self.asking.join_next().await {
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

async fn exchange(crew: &mut Crew, mut lines: Lines) -> Result<(), Ended> {
    loop {
        if crew.is_done() && !lines.idle.is_empty() {
            lines.ask(&[FromWorker::Bye]);
            // Whether it was heard or not, nothing is left to be said.
            let _ = lines.reply().await;
            return Ok(());
        }
        while !lines.idle.is_empty() && (lines.asking.is_empty() || crew.is_pressing()) {
            let mut batch = crew.messages();
            batch.push(FromWorker::Request { free: crew.free() });
            lines.ask(&batch);
        }
        tokio::select! {
            reply = lines.reply() => crew.heed(&reply?)?,
            () = crew.changes() => {}
        }
    }
}
