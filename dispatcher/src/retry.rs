//! Patience with the store: what a dispatcher holds must reach it, however long it is away.

use std::time::Duration;

use belljar_store::StoreError;

/// The pause after the first failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: after Redis is back, work goes on within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Calls `operation` until it succeeds. Warns at the first failure and tells when it is over.
pub(crate) async fn until_ok<T, F: Future<Output = Result<T, StoreError>>>(
    what: &'static str,
    operation: impl Fn() -> F,
) -> T {
    let mut pause = FIRST_PAUSE;
    loop {
        match operation().await {
            Ok(value) => {
                if pause > FIRST_PAUSE {
                    tracing::info!(what, "the store is back");
                }
                return value;
            }
            Err(error) => {
                if pause == FIRST_PAUSE {
                    tracing::warn!(
                        what,
                        error = &error as &dyn std::error::Error,
                        "the store failed; trying again"
                    );
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
