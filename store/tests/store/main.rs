//! The store against a real `redis-server`, one of its own for each test.
#![expect(clippy::expect_used, reason = "a test says with it what it counts on")]

mod claiming;
mod conservation;
mod faults;
mod fences;
mod functions;
mod harness;
mod idempotency;
mod large;
mod notices;
mod reading;
mod recovery;
mod submitting;
