//! Holds the sandbox's WASI functions against those of `wasmtime-wasi`: the same random calls into both, the
//! same answers. Where an answer differs on purpose, [`differences`] says why.
//!
//! # Layout
//!
//! * [`module`]: a module that passes calls on to the functions.
//! * [`side`]: the two implementations, and the files that both see.
//! * [`step`]: one step of a sequence, made at random.
//! * [`directed`]: sequences made by hand.
//! * [`guest`]: the sandbox's side alone.
//! * [`perform`]: what a step does, and what comes of it.
//! * [`differences`]: what may differ.
//! * [`check`]: whole sequences: compared, and shrunk where they differ.
//! * [`start`]: the guest's start, on the reference, when the guest is built.

pub mod check;
pub mod differences;
pub mod directed;
pub mod guest;
pub mod module;
pub mod perform;
pub mod side;
pub mod start;
pub mod step;
