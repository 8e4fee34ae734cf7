//! The store against a real `redis-server`, one of its own for each test.
#![expect(clippy::expect_used, reason = "it says what a test relies on")]

mod batches;
mod beside;
mod blob_files;
mod blobs;
mod bucket;
mod claiming;
mod conservation;
mod events;
mod faults;
mod fences;
mod files;
mod functions;
mod harness;
mod idempotency;
mod isolation;
mod quotas;
mod reading;
mod recovery;
mod replicas;
mod reserved;
mod result_files;
mod running;
mod sentinels;
mod sessions;
mod skewed;
mod starvation;
mod submitting;
mod tenants;
mod tls;
mod traces;
mod turns;
mod upgrade;
mod uploads;
