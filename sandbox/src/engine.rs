//! How wasmtime is set up: once per guest, in one of two flavours.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Config, OptLevel};

use crate::error::Error;
use crate::memory::{Creator, Memories};

/// Who ends a call that takes too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Flavour {
    /// The parent process, by killing this one. The guest runs without checks, 15-18 % faster.
    #[default]
    Killed,
    /// The engine: its code looks at a clock at every loop and call. For users of the library who
    /// cannot be killed.
    Epoch,
}

impl Flavour {
    /// The file name of code compiled for it.
    pub(crate) const fn artefact(self) -> &'static str {
        match self {
            Self::Killed => "guest.cwasm",
            Self::Epoch => "guest-epoch.cwasm",
        }
    }
}

/// How an engine is set up.
#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// Who ends a call that takes too long.
    pub flavour: Flavour,
    /// The part of the calling thread's stack that the guest may use. The thread must have that much
    /// and 256 KiB more.
    pub stack_bytes: usize,
}

impl Default for EngineConfig {
    /// Ended from outside; 1 MiB of stack, which every thread of Rust's has.
    fn default() -> Self {
        Self { flavour: Flavour::Killed, stack_bytes: 1 << 20 }
    }
}

/// How often an epoch ends: the precision of deadlines in the epoch flavour.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// The settings that code is compiled with and loaded under; they must be the same.
pub(crate) fn settings(flavour: Flavour) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(flavour == Flavour::Epoch)
        // A trap would otherwise pay for a backtrace that nobody reads, up to a hundred calls' time.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .memory_may_move(false);
    config
}

/// An engine whose memories come from `memories`, unless another image is selected.
pub(crate) fn engine(
    config: &EngineConfig,
    memories: Arc<Memories>,
) -> Result<wasmtime::Engine, Error> {
    let mut settings = settings(config.flavour);
    settings
        .max_wasm_stack(config.stack_bytes)
        // Never used, but it must not be the smaller of the two.
        .async_stack_size(config.stack_bytes)
        .with_host_memory(Arc::new(Creator(memories)));
    let engine = wasmtime::Engine::new(&settings).map_err(Error::Engine)?;
    if config.flavour == Flavour::Epoch {
        tick(&engine);
    }
    Ok(engine)
}

/// One clock per engine, not per call: calls of one engine must not make each other's time run faster.
fn tick(engine: &wasmtime::Engine) {
    let weak = engine.weak();
    std::thread::spawn(move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    });
}
