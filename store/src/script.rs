//! The scripts, one file each in `scripts/`, and how they are called.

use std::sync::LazyLock;

use redis::{Cmd, FromRedisValue, Script};

use crate::Store;
use crate::connection::{QueryError, Repeat, to_store_error};
use crate::error::StoreError;

/// What stands in front of every script.
const SHARED: &str = include_str!("scripts/shared.lua");

/// What stands, after that, in front of the scripts that end attempts.
const ENDING: &str = include_str!("scripts/ending.lua");

/// What the server may let a script do.
#[derive(Clone, Copy)]
enum Kind {
    /// Brings new data: refused when the server's memory is full.
    Accepts,
    /// Hands out what was accepted: goes on when memory is full, since it leads to what frees it.
    Opens,
    /// Ends attempts: goes on when memory is full, since it is what frees it.
    Ends,
    /// Only reads.
    Reads,
}

/// A script and its name for errors.
pub(crate) struct Named {
    what: &'static str,
    script: Script,
    repeat: Repeat,
    kind: Kind,
}

impl Named {
    fn new(what: &'static str, kind: Kind, repeat: Repeat, body: &str) -> Self {
        let (flags, ending) = match kind {
            Kind::Accepts => ("", ""),
            Kind::Opens => (" flags=allow-oom", ""),
            Kind::Ends => (" flags=allow-oom", ENDING),
            Kind::Reads => (" flags=no-writes", ""),
        };
        let script = Script::new(&format!("#!lua{flags}\n{SHARED}\n{ending}\n{body}"));
        Self { what, script, repeat, kind }
    }

    /// Begins a call with room for `args` arguments of `bytes` in all.
    pub(crate) fn call(&'static self, args: usize, bytes: usize) -> Call {
        let mut command = Cmd::with_capacity(args + 3, bytes + 64);
        command.arg("EVALSHA").arg(self.script.get_hash()).arg(0);
        Call { named: self, command }
    }
}

/// A call of a script in the making.
pub(crate) struct Call {
    named: &'static Named,
    command: Cmd,
}

impl Call {
    /// Appends an argument.
    pub(crate) fn arg(&mut self, value: impl AsRef<[u8]>) -> &mut Self {
        self.command.arg(value.as_ref());
        self
    }

    /// Appends a number.
    pub(crate) fn number(&mut self, value: impl Into<u64>) -> &mut Self {
        self.command.arg(value.into());
        self
    }

    /// Runs the script and reads its answer.
    pub(crate) async fn run<T: FromRedisValue>(&self, store: &Store) -> Result<T, StoreError> {
        let Named { what, script, repeat, kind } = self.named;
        let answer = store.link.query(&self.command, Some(script), *repeat).await;
        let value = answer.map_err(|QueryError { error, may_have_run }| match kind {
            Kind::Reads => to_store_error(what, error),
            _ if may_have_run => StoreError::Unanswered(error),
            _ => to_store_error(what, error),
        })?;
        redis::from_redis_value(value).map_err(|error| to_store_error(what, error.into()))
    }
}

macro_rules! scripts {
    ($($name:ident = $file:literal, $kind:ident, $repeat:ident;)*) => {
        $(pub(crate) static $name: LazyLock<Named> = LazyLock::new(|| {
            let body = include_str!(concat!("scripts/", $file, ".lua"));
            Named::new($file, Kind::$kind, Repeat::$repeat, body)
        });)*
    };
}

scripts! {
    AUDIT = "audit", Reads, Safe;
    BEAT = "beat", Ends, Safe;
    CANCEL = "cancel", Ends, Safe;
    // A lost answer leaves attempts open that `held` finds; a second run would open as many again.
    CLAIM = "claim", Opens, Unsafe;
    FINISH = "finish", Ends, Safe;
    HELD = "held", Reads, Safe;
    OFFERS = "offers", Reads, Safe;
    QUEUES = "queues", Reads, Safe;
    RECENT = "recent", Reads, Safe;
    REGISTER = "register", Accepts, Safe;
    REQUEUE = "requeue", Ends, Safe;
    RESULTS = "results", Reads, Safe;
    RETIRE = "retire", Ends, Safe;
    SUBMIT = "submit", Accepts, Safe;
    TASK = "task", Reads, Safe;
}
