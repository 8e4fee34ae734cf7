//! The gateway: HTTP in, store out. It keeps no state of its own, so any number of gateways can share one
//! store.
//!
//! # Layout
//!
//! * [`config`]: the configuration.
//! * [`error`]: what can go wrong; the only place with HTTP codes.
//! * [`listen`], `serve`: the listening sockets; `tls`: TLS over them.
//! * `client_certificate`: certificates that stand for keys.
//! * `connection`, `socket`: one connection and its stalls; `addresses`: how many each address has.
//! * `streams`: the requests of one HTTP/2 connection.
//! * `middleware`: what every request passes.
//! * `proxies`: proxies that are believed, and the URL that clients use.
//! * `cors`: web pages of others that may use the service.
//! * `admission`: which requests are answered at all.
//! * `caller`: who sends a request, and what they may do; `refusal`: why not.
//! * `shown_key`: what requests show of their senders; `keys`: what is known of it.
//! * [`oidc`]: tokens of an issuer in place of keys.
//! * `guard`: what stands in front of a route where keys are required.
//! * [`audit_log`]: who did what, for auditors.
//! * [`policy`]: what tenants may do, and how much, by the operator's file.
//! * `share`: what one tenant may have of what all share.
//! * `body`, `extract`: bodies, paths and queries.
//! * `media`: in which form bodies come and answers go.
//! * `fields`, `values`: how request bodies are declared; the types of their fields.
//! * `problem`: what is wrong with a request, as clients read it.
//! * `routes`: one file for each family of routes.
//! * `reply`: how answers are written; `times`: how times are.
//! * `waiters`, `notifier`: requests that wait for tasks, and the subscription that wakes them.
//! * `event_stream`: moves of tasks for `/v1/events`.
//! * `live_stream`, `live_reader`: output and progress of running tasks for `/v1/tasks/{task_id}/output`.
//! * `guest_modules`: modules that the sandbox does not have.
//! * [`requirements`]: chooses packages for functions that ask for some.
//! * `cpu_latency`: the kernel's limit on the wake-up latency of processors.
//! * `cache`: what is cached of the store.
//! * `metrics`, `service_metrics`, `timing`: what is measured.
//! * `encoding`: bodies that are compressed.
//! * `traces`: the spans of submissions.
//! * `upload`: what an upload says of itself.
//! * `outage`: whether the store refuses requests, for the log.
//! * `stamp`: whether a file has changed.
//! * `openapi`, `schema`, `pages`: descriptions for programs and for people.

mod activity;
mod addresses;
mod admission;
mod app;
pub mod audit_log;
mod body;
mod cache;
mod caller;
mod client_certificate;
pub mod config;
mod connection;
mod cors;
mod cpu_latency;
pub mod encoding;
mod error;
mod event_stream;
mod extract;
mod fields;
mod guard;
mod guest_modules;
mod keys;
pub mod listen;
mod live_reader;
mod live_stream;
mod media;
mod metrics;
mod middleware;
mod notifier;
pub mod oidc;
mod openapi;
mod outage;
mod pages;
pub mod policy;
mod problem;
mod proxies;
mod refusal;
mod reply;
pub mod requirements;
mod routes;
mod schema;
mod serve;
mod service_metrics;
mod share;
mod shown_key;
mod socket;
mod stamp;
mod streams;
mod times;
mod timing;
mod tls;
mod traces;
mod upload;
mod values;
mod waiters;

use std::sync::Arc;
use std::time::Duration;

use belljar_store::Store;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::app::App;
use crate::audit_log::{Action, AuditRecord};
use crate::middleware::Middleware;

pub use config::Config;
pub use cors::{InvalidOrigin, WebOrigin};
pub use cpu_latency::{CpuLatencyError, can_limit_cpu_latency};
pub use error::GatewayError;
pub use listen::{Listener, Listeners};
pub use proxies::{ForwardedHeader, InvalidProxy, InvalidUrl, Proxies, PublicUrl, TrustedProxy};
pub use serve::Stopped;
pub use tls::{CertificateFiles, Tls, TlsError};

/// Serves HTTP on `listeners` until `shutdown` fires. Then no connection is accepted any more,
/// requests that wait are answered with what there is, and open requests have
/// [`Config::drain_timeout`] to finish.
///
/// # Errors
/// A listener has no address, or a task of the gateway itself ended.
pub async fn run(
    config: Config,
    listeners: impl Into<Listeners>,
    store: Store,
    shutdown: CancellationToken,
) -> Result<Stopped, GatewayError> {
    let listeners = listeners.into();
    let addresses = listeners.addresses().map_err(GatewayError::Listener)?;
    let public = config.public_url.clone();
    let admission = Admission::new(&addresses, &config.allowed_hosts, public)
        .with_origins(config.cors_origins.clone());
    let audit_log = config.audit_log.clone();
    let audit = |action| {
        let record = || AuditRecord::now(action).by_process();
        audit_log.iter().for_each(|log| log.record(record()));
    };
    audit(Action::Start);
    // A child token, so that a failing gateway stops nothing but itself.
    let draining = shutdown.child_token();
    let app = Arc::new(App::new(config, store.clone(), admission, draining.clone()));
    let middleware = Middleware::new(Arc::clone(&app), routes::router(Arc::clone(&app)));
    let mut background = JoinSet::new();
    let (notifier, latency) = (&app.notifier, &app.cpu_latency);
    let (listening, functions) = (Arc::clone(notifier), Arc::clone(&app.functions));
    background.spawn(notifier::listen(listening, store.clone(), functions, latency.clone()));
    background.spawn(notifier::deliver(Arc::clone(notifier), store.clone()));
    background.spawn(expire_functions(store.clone(), app.config.expire_every));
    if let Some(latency) = app.cpu_latency.clone() {
        background.spawn(async move { match latency.expire().await {} });
    }
    if let Some(tenants) = app.config.tenants.clone() {
        let log = audit_log.clone();
        background.spawn(async move { match tenants.reload(log.as_deref()).await {} });
    }
    let mut serving = std::pin::pin!(serve::serve(app, middleware, listeners));
    let ended = tokio::select! {
        stopped = &mut serving => Ok(stopped),
        Some(_) = background.join_next() => {
            draining.cancel();
            serving.await;
            Err(GatewayError::TaskEnded("subscription"))
        }
    };
    audit(Action::Stop);
    audit_log.iter().for_each(|log| log.close());
    ended
}

/// Removes functions that have expired: until then nobody sees them any more, but they count. Never returns.
async fn expire_functions(store: Store, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        match store.remove_expired_functions().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "functions have expired"),
            // Requests tell of an outage.
            Err(error) => tracing::debug!(%error, "expired functions cannot be removed"),
        }
        if let Err(error) = store.sweep_blobs().await {
            tracing::debug!(%error, "files of large values cannot be looked through");
        }
    }
}
