//! The numbers of a policy: their names, and how a file gives them.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The word for no bound.
const UNLIMITED: &str = "unlimited";

/// A number of the file: at most so much, or no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    At(u64),
    Unlimited,
}

impl Bound {
    const fn number(self) -> Option<u64> {
        match self {
            Self::At(number) => Some(number),
            Self::Unlimited => None,
        }
    }

    /// The bound that is in force: that of the tenant's table, else of the default one, else none.
    pub(super) fn of(own: Option<Self>, default: Option<Self>) -> Option<u64> {
        own.or(default).and_then(Self::number)
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoundVisitor;

        impl Visitor<'_> for BoundVisitor {
            type Value = Bound;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number, 0 or more, or \"{UNLIMITED}\"")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Bound, E> {
                let wrong = |_| E::invalid_value(de::Unexpected::Signed(number), &self);
                u64::try_from(number).map(Bound::At).map_err(wrong)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bound, E> {
                match text {
                    UNLIMITED => Ok(Bound::Unlimited),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }

        deserializer.deserialize_any(BoundVisitor)
    }
}

/// Declares numbers of a policy: as they are in force, as a table of the file has them, and their names.
macro_rules! bounds {
    ($(#[$about:meta])* $all:ident, $(#[$about_one:meta])* $one:ident, $table:ident;
     $($(#[$doc:meta])* $name:ident: $field:ident;)*) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
        pub struct $all {
            $($(#[$doc])* pub $field: Option<u64>,)*
        }

        $(#[$about_one])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $one {
            $($(#[$doc])* $name,)*
        }

        impl $one {
            /// All of them, in the order of the file's documentation.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in the file.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($field),)*
                }
            }
        }

        impl $all {
            /// One of them; `None` where there is no bound.
            #[must_use]
            pub const fn get(&self, one: $one) -> Option<u64> {
                match one {
                    $($one::$name => self.$field,)*
                }
            }
        }

        #[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $table {
            $($field: Option<Bound>,)*
        }

        impl $table {
            /// What is in force: `default` where this table says nothing.
            pub(super) fn over(&self, default: &Self) -> $all {
                $all { $($field: Bound::of(self.$field, default.$field),)* }
            }
        }
    };
}

bounds! {
    /// The largest limits of a tenant's functions and calls; `None` where there is none but the deployment's.
    PolicyLimits,
    /// A largest limit.
    Limit, TableLimits;

    /// Seconds that a call may take.
    Timeout: timeout_s;
    /// Memory that a call may have, in MiB.
    Memory: memory_mb;
    /// Retries after an executor or worker dies.
    Retries: max_retries;
    /// Seconds after which functions are forgotten.
    FunctionTtl: function_ttl_s;
    /// The pickled function, or the pickled arguments of one call, in KiB.
    Payload: payload_kb;
    /// The pickled result or exception of a call, with the files that it leaves, in MiB.
    Result: max_result_mb;
}

bounds! {
    /// How much a tenant may use; `None` where there is no bound.
    Quotas,
    /// Something of which a tenant may use so much.
    Quota, TableQuotas;

    /// Requests a second, at each gateway process.
    Requests: requests_per_s;
    /// Requests that may come at once after a pause; `requests_per_s` unless given.
    Burst: burst;
    /// Requests that wait for tasks, at each gateway process.
    LongPolls: long_polls;
    /// Open requests, at each gateway process.
    OpenRequests: open_requests;
    /// Tasks that open requests wait for, at each gateway process.
    WaitedTasks: waited_tasks;
    /// Open `/v1/events` and `/v1/tasks/{task_id}/output`, at each gateway process.
    EventStreams: event_streams;
    /// Registered functions.
    Functions: functions;
    /// Sessions.
    Sessions: sessions;
    /// Functions, arguments, results and sessions in the store, in MiB.
    Stored: stored_mb;
    /// Tasks that wait, also for their delay.
    QueuedTasks: queued_tasks;
    /// Tasks that run at once. More are not refused: they wait.
    RunningTasks: running_tasks;
    /// Processor seconds of calls in an hour of the clock.
    CpuPerHour: cpu_s_per_hour;
    /// Processor seconds of calls in a day of the clock, in UTC.
    CpuPerDay: cpu_s_per_day;
    /// MiB of memory times seconds of calls in an hour of the clock.
    MemoryPerHour: memory_mb_s_per_hour;
    /// MiB of memory times seconds of calls in a day of the clock, in UTC.
    MemoryPerDay: memory_mb_s_per_day;
}
