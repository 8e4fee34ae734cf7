//! What a tenant has open at this gateway, and the rate of its requests. Counted in the memory of the process: two
//! gateways allow twice as much.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::bounds::Quota;
use super::{QuotaExceeded, TenantPolicy};

/// A tenant at this gateway.
#[derive(Debug)]
pub(crate) struct Account {
    policy: RwLock<Arc<TenantPolicy>>,
    bucket: Mutex<TokenBucket>,
    long_polls: AtomicU64,
    event_streams: AtomicU64,
}

/// Something that a tenant has open, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenPermit {
    account: Arc<Account>,
    quota: Quota,
}

impl Account {
    /// A tenant that has sent nothing yet.
    pub(super) fn new(policy: TenantPolicy) -> Self {
        Self {
            policy: RwLock::new(Arc::new(policy)),
            bucket: Mutex::default(),
            long_polls: AtomicU64::new(0),
            event_streams: AtomicU64::new(0),
        }
    }

    /// What it may do now.
    pub(crate) fn policy(&self) -> Arc<TenantPolicy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what it may do.
    pub(super) fn set_policy(&self, policy: TenantPolicy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// Counts a request.
    pub(crate) fn take_request(&self) -> Result<(), QuotaExceeded> {
        let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner);
        let Some(rate) = policy.quotas.requests_per_s else { return Ok(()) };
        let size = policy.quotas.burst.unwrap_or(rate);
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(Instant::now(), rate, size).map_err(|retry_after| {
            let (tenant, quota) = (policy.tenant.clone(), Quota::Requests);
            QuotaExceeded { tenant, quota, used: rate, limit: rate, retry_after }
        })
    }

    /// Counts something that stays open.
    pub(crate) fn open(self: &Arc<Self>, quota: Quota) -> Result<OpenPermit, QuotaExceeded> {
        let count = self.count(quota).fetch_add(1, Ordering::Relaxed);
        // Counted back on every way out.
        let permit = OpenPermit { account: Arc::clone(self), quota };
        let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner);
        match policy.quotas.get(quota) {
            Some(limit) if count >= limit => {
                let (tenant, retry_after) = (policy.tenant.clone(), Duration::from_secs(1));
                Err(QuotaExceeded { tenant, quota, used: count, limit, retry_after })
            }
            _ => Ok(permit),
        }
    }

    const fn count(&self, quota: Quota) -> &AtomicU64 {
        match quota {
            Quota::EventStreams => &self.event_streams,
            _ => &self.long_polls,
        }
    }
}

impl Drop for OpenPermit {
    fn drop(&mut self) {
        self.account.count(self.quota).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Requests that may be sent now; they come back at a steady rate.
#[derive(Debug, Default)]
struct TokenBucket {
    /// How many were spent and have not come back by `at`.
    spent: f64,
    at: Option<Instant>,
}

impl TokenBucket {
    /// Takes one of `size`, of which `rate` a second come back; else says after how long there is one.
    #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^53")]
    fn take(&mut self, now: Instant, rate: u64, size: u64) -> Result<(), Duration> {
        const NEVER: Duration = Duration::from_secs(3_600);
        let since = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.spent = (self.spent - since.as_secs_f64() * rate as f64).max(0.0);
        self.at = Some(now);
        let over = self.spent + 1.0 - size.max(1) as f64;
        if rate == 0 {
            return Err(NEVER);
        }
        if over > 0.0 {
            return Err(Duration::try_from_secs_f64(over / rate as f64).unwrap_or(NEVER));
        }
        self.spent += 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicyFile;

    #[test]
    fn requests_come_back_at_their_rate() {
        let (mut bucket, start) = (TokenBucket::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for _ in 0..3 {
            assert_eq!(bucket.take(at(0), 2, 3), Ok(()));
        }
        assert_eq!(bucket.take(at(0), 2, 3), Err(Duration::from_millis(500)));
        assert_eq!(bucket.take(at(250), 2, 3), Err(Duration::from_millis(250)));
        assert_eq!(bucket.take(at(500), 2, 3), Ok(()));
        assert!(bucket.take(at(500), 2, 3).is_err());
        // A pause fills it, and no more than that.
        let taken = (0..9).filter(|_| bucket.take(at(60_000), 2, 3).is_ok()).count();
        assert_eq!(taken, 3);
        assert!(TokenBucket::default().take(at(0), 0, 5).is_err(), "none a second are none");
    }

    #[test]
    fn what_is_closed_or_refused_counts_no_longer() {
        let mut policy = PolicyFile::default().policy(&"acme".parse().expect("a name"));
        policy.quotas.event_streams = Some(1);
        let account = Arc::new(Account::new(policy.clone()));
        let first = account.open(Quota::EventStreams).expect("the first");
        let refused = account.open(Quota::EventStreams).expect_err("the second");
        assert_eq!((refused.quota, refused.limit), (Quota::EventStreams, 1));
        assert!(account.open(Quota::LongPolls).is_ok(), "of these there is no bound");
        drop(first);
        let _first = account.open(Quota::EventStreams).expect("there is room again");
        policy.quotas.event_streams = Some(2);
        account.set_policy(policy);
        assert!(account.open(Quota::EventStreams).is_ok(), "by the new policy");
    }
}
