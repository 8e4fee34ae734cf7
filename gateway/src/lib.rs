//! The gateway: HTTP in, store out. It keeps no state of its own, so any number of gateways may run
//! over one store.
//!
//! # Layout
//!
//! * [`config`]: what it is told. * [`error`]: what can go wrong; the only place with HTTP codes.
//! * `serve`, `connection`: the listening socket; one connection and its stalls.
//! * `edge`: what surrounds every handler. * `admission`: which requests are answered at all.
//! * `body`, `extract`, `validate`: bodies, paths and queries, and what is wrong with them.
//! * `routes`: one file for each family of routes. * `reply`: how answers are written.
//! * `waiters`, `notices`: who waits for which task, and the one subscription that wakes them.
//! * `feed`: what event streams are told.
//! * `guest_modules`: what a sandboxed function cannot have.
//! * `wakefulness`: processors that stay awake while calls come.
//! * `known`: what is remembered of the store. * `metrics`, `timing`: what is measured.
//! * `openapi`, `pages`: what people read.

mod admission;
mod app;
mod body;
pub mod config;
mod connection;
mod edge;
pub mod error;
mod extract;
mod feed;
mod guest_modules;
mod known;
mod metrics;
mod notices;
mod openapi;
mod pages;
mod reply;
mod routes;
mod serve;
mod timing;
mod validate;
mod waiters;
mod wakefulness;

use std::sync::Arc;

use belljar_store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::app::App;
use crate::edge::Edge;

pub use config::Config;
pub use error::GatewayError;
pub use serve::Stopped;
pub use wakefulness::{AsleepError, can_keep_awake};

/// Serves HTTP on `listener` until `shutdown` fires. Then no connection is taken any more, those
/// who wait for tasks are answered with how these stand, and open requests have
/// [`Config::drain_timeout`] to finish.
///
/// # Errors
/// The listener has no address, or a task of the gateway itself ended.
pub async fn run(
    config: Config,
    listener: TcpListener,
    store: Store,
    shutdown: CancellationToken,
) -> Result<Stopped, GatewayError> {
    let address = listener.local_addr().map_err(GatewayError::Listener)?;
    let admission = Admission::new(address, &config.allowed_hosts);
    // A child, so that a failing gateway stops itself and nobody else.
    let draining = shutdown.child_token();
    let app = Arc::new(App::new(config, store.clone(), admission, draining.clone()));
    let edge = Edge::new(Arc::clone(&app), routes::router(Arc::clone(&app)));
    let mut background = JoinSet::new();
    background.spawn(notices::listen(Arc::clone(&app)));
    background.spawn(notices::deliver(Arc::clone(&app.hub), store));
    if let Some(wakefulness) = app.wakefulness.clone() {
        background.spawn(async move { match wakefulness.lapse().await {} });
    }
    let mut serving = std::pin::pin!(serve::serve(app, edge, listener));
    tokio::select! {
        stopped = &mut serving => Ok(stopped),
        Some(_) = background.join_next() => {
            draining.cancel();
            serving.await;
            Err(GatewayError::TaskEnded("subscription"))
        }
    }
}
