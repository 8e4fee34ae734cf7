//! The scripts, one file each in `scripts/`, and how they are called.

use redis::{Cmd, FromRedisValue, Script};

use crate::Store;
use crate::assemble::assemble;
use crate::connection::{QueryError, Repeat, to_store_error};
use crate::error::StoreError;
use crate::keys::Keys;

/// What the server may let a script do.
#[derive(Clone, Copy)]
enum ScriptKind {
    /// Registers a function: refused when the server's memory is full.
    Registers,
    /// Accepts tasks: refused when the server's memory is full.
    Accepts,
    /// Hands out what was accepted: goes on when memory is full, since it leads to what frees it.
    Opens,
    /// Shows running tasks: refused when the server's memory is full.
    Shows,
    /// Ends attempts: goes on when memory is full, since it is what frees it.
    Ends,
    /// Forgets a function: goes on when memory is full, since it frees some.
    Unregisters,
    /// Only reads.
    Reads,
}

/// A script and its name for errors.
pub(crate) struct NamedScript {
    what: &'static str,
    script: Script,
    repeat: Repeat,
    kind: ScriptKind,
}

impl NamedScript {
    fn new(what: &'static str, kind: ScriptKind, repeat: Repeat, body: &str, keys: &Keys) -> Self {
        let flags = match kind {
            ScriptKind::Registers | ScriptKind::Accepts | ScriptKind::Shows => "",
            ScriptKind::Opens | ScriptKind::Ends | ScriptKind::Unregisters => " flags=allow-oom",
            ScriptKind::Reads => " flags=no-writes",
        };
        let script = Script::new(&format!("#!lua{flags}\n{}", assemble(body, keys)));
        Self { what, script, repeat, kind }
    }

    /// Begins a call with room for `args` arguments of `bytes` in all.
    pub(crate) fn call(&self, args: usize, bytes: usize) -> ScriptCall<'_> {
        let mut command = Cmd::with_capacity(args + 3, bytes + 64);
        command.arg("EVALSHA").arg(self.script.get_hash()).arg(0);
        ScriptCall { named: self, command }
    }
}

/// A call of a script in the making.
pub(crate) struct ScriptCall<'a> {
    named: &'a NamedScript,
    command: Cmd,
}

impl ScriptCall<'_> {
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
        let NamedScript { what, script, repeat, kind } = self.named;
        let answer = store.inner.connection.query(&self.command, Some(script), *repeat).await;
        let value = answer.map_err(|QueryError { error, may_have_run }| match kind {
            ScriptKind::Reads => to_store_error(what, error),
            _ if may_have_run => StoreError::Unanswered(error),
            _ => to_store_error(what, error),
        })?;
        redis::from_redis_value(value).map_err(|error| to_store_error(what, error.into()))
    }
}

macro_rules! scripts {
    ($($name:ident: $kind:ident, $repeat:ident;)*) => {
        /// Every script, written for the keys of one deployment.
        pub(crate) struct Scripts {
            $(pub(crate) $name: NamedScript,)*
        }

        impl Scripts {
            pub(crate) fn new(keys: &Keys) -> Self {
                Self {
                    $($name: NamedScript::new(
                        stringify!($name),
                        ScriptKind::$kind,
                        Repeat::$repeat,
                        include_str!(concat!("scripts/", stringify!($name), ".lua")),
                        keys,
                    ),)*
                }
            }
        }
    };
}

scripts! {
    // Said twice, it finds its own change and fails: the caller reads again.
    api_key: Registers, Safe;
    audit: Reads, Safe;
    // It is bounded, and what frees memory is recorded too. Said twice, it would append twice.
    audit_append: Ends, Unsafe;
    cancel: Ends, Safe;
    capabilities: Reads, Safe;
    // A lost answer leaves attempts open that `leased` finds; a second run would open as many again.
    claim: Opens, Unsafe;
    commit: Accepts, Safe;
    complete: Ends, Safe;
    heartbeat: Ends, Safe;
    hold: Registers, Safe;
    leased: Reads, Safe;
    live: Shows, Safe;
    queues: Reads, Safe;
    recent: Reads, Safe;
    register: Registers, Safe;
    requeue: Ends, Safe;
    results: Reads, Safe;
    retire: Ends, Safe;
    // Said twice, it finds the id.
    session: Registers, Safe;
    session_end: Ends, Safe;
    session_list: Reads, Safe;
    session_submit: Accepts, Safe;
    submit: Accepts, Safe;
    task: Reads, Safe;
    tenant_usage: Reads, Safe;
    tenants: Reads, Safe;
    // Said twice, it unpacks two parts.
    unpack: Opens, Safe;
    upload: Registers, Safe;
    // Said twice, the second run finds nothing; the caller has read the record before.
    unregister: Unregisters, Safe;
}
