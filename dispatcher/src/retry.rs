//! Retries of store operations: what a dispatcher holds must reach the store, however long it is away.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use belljar_store::StoreError;

/// The longest pause: work goes on within this time once Redis is back.
const MAX_DELAY: Duration = Duration::from_secs(1);
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(MAX_DELAY)
    .without_max_times();

/// Calls `operation` until it succeeds. Logs the first failure and the recovery.
pub(crate) async fn until_ok<T, F: Future<Output = Result<T, StoreError>>>(
    what: &'static str,
    operation: impl Fn() -> F,
) -> T {
    let error = match operation().await {
        Ok(value) => return value,
        Err(error) => error,
    };
    tracing::warn!(what, error = &error as &dyn std::error::Error, "the store failed; retrying");
    let mut delays = BACKOFF.build();
    loop {
        tokio::time::sleep(delays.next().unwrap_or(MAX_DELAY)).await;
        if let Ok(value) = operation().await {
            tracing::info!(what, "the store is back");
            return value;
        }
    }
}
