//! The configuration of a gateway. Flags and the environment are read elsewhere.

use std::sync::Arc;
use std::time::Duration;

use belljar_core::task::{TaskClass, TaskLimits};
use belljar_traces::Traces;

use crate::audit_log::AuditLog;
use crate::cors::WebOrigin;
use crate::oidc::OidcConfig;
use crate::policy::Tenants;
use crate::proxies::{Proxies, PublicUrl};
use crate::requirements::Resolver;

/// So many bytes of large results are read at once for one request; what is more goes in parts.
pub(crate) const WHOLE_BYTES: u64 = 2 << 20;

/// The memory that a large body takes at most, with all that is read from it, as a multiple of its size: so
/// much is reserved for it.
const MEMORY_PER_BYTE: usize = 4;

/// One for each KiB of memory that a body of `size` bytes takes.
pub(crate) fn permits(size: usize) -> u32 {
    let kib = (size >> 10).saturating_mul(MEMORY_PER_BYTE) + 1;
    u32::try_from(kib).unwrap_or(u32::MAX)
}

/// How a gateway behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// The runtime of functions that name none, and the Python of functions that show none.
    pub default_class: TaskClass,
    /// The limits of functions that name none.
    pub default_limits: TaskLimits,
    /// The widest limits that a function may be registered with.
    pub max_limits: TaskLimits,
    /// Host names, beside loopback and the listen address, under which clients reach this gateway.
    /// `*` stands for every name and gives up the protection against DNS rebinding.
    pub allowed_hosts: Vec<String>,
    /// Proxies that are believed when they say where a request comes from.
    pub proxies: Proxies,
    /// The URL that clients use, where a proxy has another one.
    pub public_url: Option<PublicUrl>,
    /// Web pages of others that may use this gateway from a browser.
    pub cors_origins: Vec<WebOrigin>,
    /// Whether every request, except to public routes, must show a key.
    pub require_keys: bool,
    /// Whose tokens are taken in place of keys, where keys are required.
    pub oidc: Option<OidcConfig>,
    /// What tenants may do, where that is restricted.
    pub tenants: Option<Arc<Tenants>>,
    /// Chooses packages for functions that ask for some, where that is offered.
    pub resolver: Option<Arc<Resolver>>,
    /// Where what was done is recorded, if it is.
    pub audit_log: Option<Arc<AuditLog>>,
    /// Exports the spans of submissions, where they are traced.
    pub traces: Option<Traces>,
    /// Whether the kernel is asked to keep processors awake while calls come and go: a single call is
    /// faster, at the cost of some power.
    pub low_latency: bool,
    /// The largest request body in bytes.
    pub max_body_bytes: usize,
    /// The largest value that can be uploaded, in bytes.
    pub max_value_bytes: u64,
    /// How many bytes large bodies, and what is read from them, may take at once, over all requests: four times
    /// their size. One body of the largest size always has room.
    pub max_buffered_bytes: usize,
    /// How many connections are served at once; the others wait in the listen queue. Also how many requests
    /// are open at once: one connection of HTTP/2 may have many.
    pub max_connections: usize,
    /// How many tasks may be waited for at once, over all long polls.
    pub max_waiters: usize,
    /// How long a client may take from its first byte to the end of the headers, and from the
    /// start of its connection to the first byte.
    pub header_timeout: Duration,
    /// How long a client may pause within a body; slower than 16 KiB/s on the whole is refused too.
    pub body_timeout: Duration,
    /// How long a connection may stay open between two requests.
    pub idle_timeout: Duration,
    /// How long a client may refuse to take bytes of a response.
    pub write_timeout: Duration,
    /// How long a cancel waits for the code to have stopped before it answers 202.
    pub cancel_wait: Duration,
    /// How often what has expired is looked for: functions, and a part of the files of large values.
    pub expire_every: Duration,
    /// How long open requests may take at shutdown before they are cut.
    pub drain_timeout: Duration,
}

impl Config {
    /// The defaults of a deployment whose functions run in `default_class`.
    #[must_use]
    pub fn new(default_class: TaskClass) -> Self {
        Self {
            default_class,
            default_limits: TaskLimits::DEFAULT,
            max_limits: TaskLimits::WIDEST,
            allowed_hosts: Vec::new(),
            proxies: Proxies::default(),
            public_url: None,
            cors_origins: Vec::new(),
            require_keys: false,
            oidc: None,
            tenants: None,
            resolver: None,
            audit_log: None,
            traces: None,
            low_latency: true,
            max_body_bytes: 32 << 20,
            max_value_bytes: 2 << 30,
            max_buffered_bytes: 512 << 20,
            max_connections: 4_096,
            max_waiters: 200_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            cancel_wait: Duration::from_secs(5),
            expire_every: Duration::from_secs(15),
            drain_timeout: Duration::from_secs(10),
        }
    }
}
