//! The only crate of belljar that knows Redis: functions, tasks, queues, attempts, results and the
//! notifications about them. It schedules nothing and decides nothing about time: dispatchers do.
//!
//! Every change of a task is one Lua script, so it happens whole or not at all, and an attempt's
//! number fences late writers.
//!
//! # Layout
//!
//! * [`config`]: how to reach Redis, and the bounds of what is kept. * [`record`]: what is taken and
//!   given out. * [`error`]: what can go wrong. * [`notify`]: hearing of changes.
//! * `submit`, `dispatch`, `beat`, `read`, `function`, `audit`: the operations of [`Store`].
//! * `scripts/*.lua` behind `script`: the operations where they happen; `scripts/shared.lua` describes
//!   the keys and the forms of values. * `card`: the bytes of a record. * `large`: values that no script
//!   touches. * `reply`: reading what scripts answer.
//! * `connection`: one connection that mends itself. * `server`: whether a server is fit.

mod audit;
mod beat;
mod card;
pub mod config;
mod connection;
mod dispatch;
pub mod error;
mod function;
mod large;
pub mod notify;
mod read;
pub mod record;
mod reply;
mod script;
mod server;
mod submit;

use std::sync::Arc;
use std::time::Duration;

use belljar_core::outcome::{CallVerdict, Outcome};

pub use config::{DISPATCHER_TTL, IDEMPOTENCY_TTL, MAX_ATTEMPTS, RECENT_TASKS, StoreConfig};
pub use error::StoreError;
pub use large::BLOB_BYTES;
pub use notify::{EndedTask, StoreEvent, Subscription, Topic};

use beat::LostTooOften;
use connection::Link;

/// A handle to the store; a cheap clone, one multiplexed connection that mends itself.
#[derive(Clone)]
pub struct Store {
    link: Arc<Link>,
    config: Arc<StoreConfig>,
    /// How cancelled tasks end.
    cancelled_ending: Arc<[u8]>,
    lost_too_often: Arc<LostTooOften>,
}

impl Store {
    /// Connects, checks that the server is fit to hold tasks (version, eviction policy) and warns in
    /// the log where persistence is off.
    ///
    /// # Errors
    /// Redis cannot be reached or is unfit.
    pub async fn connect(config: StoreConfig) -> Result<Self, StoreError> {
        let client = redis::Client::open(config.url.as_str())
            .map_err(|_| StoreError::Url { url: server::shown_url(&config.url) })?;
        let link = Link::new(client, config.timeout);
        let cancelled = Outcome::bare(CallVerdict::Cancelled, Duration::ZERO);
        let store = Self {
            link: Arc::new(link),
            config: Arc::new(config),
            cancelled_ending: card::ending(None, &cancelled).1.into(),
            lost_too_often: Arc::new(LostTooOften::new()),
        };
        server::check(&store).await?;
        Ok(store)
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.ask("PING", &redis::cmd("PING")).await
    }

    fn result_ttl_ms(&self) -> u64 {
        millis(self.config.result_ttl)
    }

    fn dispatcher_ttl_ms(&self) -> u64 {
        millis(self.config.dispatcher_ttl)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
