//! Tenants that call no-ops one at a time, as an interactive program does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use super::{POLITE, key};
use crate::api::Client;
use crate::context::Context;
use crate::http::{Connection, Origin};
use crate::python::Call;
use crate::service::Service;

/// The pause between two calls.
const PAUSE: Duration = Duration::from_millis(4);
/// So many calls go over one connection: new ones must get in, too.
const CALLS_OF_CONNECTION: usize = 20;
/// So many different calls.
const CALLS: usize = 1_000;

/// The tenants.
pub(super) struct Polite {
    address: SocketAddr,
    /// The key and the function of each.
    tenants: Vec<(Origin, String)>,
    calls: Arc<[Call]>,
}

/// What their calls took.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) latencies_ms: Vec<f64>,
    /// Calls that were refused or not answered.
    pub(super) failed: usize,
}

impl Times {
    /// The time within which a share `q` of the calls ended; without any, none ended.
    pub(super) fn quantile_ms(&self, q: f64) -> f64 {
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1) as f64;
        sorted.get((q * last).round() as usize).copied().unwrap_or(f64::INFINITY)
    }
}

impl Polite {
    pub(super) async fn new(cx: &mut Context, service: &Service) -> Result<Self> {
        let payload = cx.python.function("noop")?;
        let calls = cx.python.numbered("noop", 0, CALLS)?.into();
        let mut tenants = Vec::new();
        for tenant in POLITE {
            let origin = Origin { key: Some(key(cx, service, tenant)?), from: None };
            let mut client = Client::new(Connection::open_as(service.address, &origin).await?);
            let function = client.register("noop", &payload, "native").await?;
            tenants.push((origin, function));
        }
        Ok(Self { address: service.address, tenants, calls })
    }

    /// All of them call for some time.
    pub(super) async fn call(&self, window: Duration) -> Result<Times> {
        let mut loops = JoinSet::new();
        for (origin, function) in self.tenants.clone() {
            let (address, calls) = (self.address, Arc::clone(&self.calls));
            loops.spawn(async move { call(address, &origin, &function, &calls, window).await });
        }
        let mut all = Times::default();
        while let Some(one) = loops.join_next().await {
            let one = one?;
            all.latencies_ms.extend(one.latencies_ms);
            all.failed += one.failed;
        }
        Ok(all)
    }
}

async fn call(
    address: SocketAddr,
    origin: &Origin,
    function: &str,
    calls: &[Call],
    window: Duration,
) -> Times {
    let (mut times, begun, mut client) = (Times::default(), Instant::now(), None);
    for (number, Call { args, expected }) in calls.iter().cycle().enumerate() {
        if begun.elapsed() >= window {
            break;
        }
        if number % CALLS_OF_CONNECTION == 0 {
            client = None;
        }
        let started = Instant::now();
        let answer = async {
            if client.is_none() {
                client = Some(Client::new(Connection::open_as(address, origin).await?));
            }
            let Some(client) = &mut client else { anyhow::bail!("no connection") };
            let (_, checked) = client.call(function, args, expected).await?;
            checked.map_err(anyhow::Error::msg)
        };
        match answer.await {
            Ok(()) => times.latencies_ms.push(started.elapsed().as_secs_f64() * 1e3),
            Err(_) => (times.failed, client) = (times.failed + 1, None),
        }
        tokio::time::sleep(PAUSE).await;
    }
    times
}
