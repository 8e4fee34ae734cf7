//! What one tenant may have of what all tenants share at this gateway, where the operator's file does not say: the rest is
//! for the others, whatever it does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use belljar_core::tenant::Tenant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::policy::{Quota, QuotaExceeded};

/// One tenant, or one address, leaves one part in so many to the others.
const PARTS: u64 = 8;
/// A request about so many tasks or functions is large.
pub(crate) const LARGE: usize = 256;
/// When another try makes sense.
const SOON: Duration = Duration::from_secs(1);

/// How much of `all` one may have.
pub(crate) const fn of_one(all: u64) -> u64 {
    all - all / PARTS
}

/// The shares of tenants whose keys were shown and are not forgotten.
#[derive(Debug, Default)]
pub(crate) struct Shares(Mutex<HashMap<Tenant, Weak<Share>>>);

impl Shares {
    /// That of a tenant.
    pub(crate) fn of(&self, tenant: &Tenant) -> Arc<Share> {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(tenant).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share {
            tenant: tenant.clone(),
            requests: AtomicU64::default(),
            tasks: AtomicU64::default(),
            large: Arc::new(Semaphore::new(1)),
        });
        shares.insert(tenant.clone(), Arc::downgrade(&share));
        share
    }
}

/// What a tenant has.
#[derive(Debug)]
pub(crate) struct Share {
    tenant: Tenant,
    requests: AtomicU64,
    tasks: AtomicU64,
    /// The turn of its large requests.
    large: Arc<Semaphore>,
}

/// The turn of a large request, until it is dropped.
pub(crate) type Turn = Option<OwnedSemaphorePermit>;

/// Counts something until it is dropped.
#[derive(Debug)]
pub(crate) struct SharePermit {
    share: Arc<Share>,
    quota: Quota,
    count: u64,
}

impl Share {
    /// Waits for the turn of a request about so many tasks or functions: of large ones a tenant has one at a time, so that those of
    /// others come in between.
    pub(crate) async fn turn(&self, items: usize) -> Turn {
        if items < LARGE {
            return None;
        }
        Arc::clone(&self.large).acquire_owned().await.ok()
    }

    /// Counts `count` more, of which there may be `limit`.
    pub(crate) fn take(
        self: &Arc<Self>,
        quota: Quota,
        count: u64,
        limit: u64,
    ) -> Result<SharePermit, QuotaExceeded> {
        let used = self.counter(quota).fetch_add(count, Ordering::Relaxed);
        // Counted back on every way out.
        let permit = SharePermit { share: Arc::clone(self), quota, count };
        if used + count <= limit {
            return Ok(permit);
        }
        let tenant = self.tenant.clone();
        Err(QuotaExceeded { tenant, quota, used, limit, retry_after: SOON })
    }

    const fn counter(&self, quota: Quota) -> &AtomicU64 {
        match quota {
            Quota::WaitedTasks => &self.tasks,
            _ => &self.requests,
        }
    }
}

impl Drop for SharePermit {
    fn drop(&mut self) {
        self.share.counter(self.quota).fetch_sub(self.count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn each_tenant_leaves_something_to_the_others() {
        let shares = Shares::default();
        let [acme, other] = ["acme", "other"].map(|name| shares.of(&name.parse().expect("a name")));
        let held = acme.take(Quota::WaitedTasks, 7, of_one(8)).expect("seven of eight");
        let refused = acme.take(Quota::WaitedTasks, 1, of_one(8)).expect_err("one more");
        assert_eq!((refused.used, refused.limit), (7, 7));
        assert!(acme.take(Quota::OpenRequests, 1, 1).is_ok(), "counted apart");
        assert!(other.take(Quota::WaitedTasks, 1, of_one(8)).is_ok());
        drop(held);
        let again = shares.of(&"acme".parse().expect("a name"));
        assert!(Arc::ptr_eq(&acme, &again) && again.take(Quota::WaitedTasks, 7, 7).is_ok());
        assert!(acme.turn(LARGE - 1).await.is_none(), "small ones do not wait");
        let turn = acme.turn(LARGE).await;
        {
            let mut next = pin!(acme.turn(LARGE));
            assert!(poll!(next.as_mut()).is_pending(), "another large one");
            assert!(other.turn(LARGE).await.is_some(), "of another tenant");
            drop(turn);
            assert!(next.await.is_some());
        }
        drop((acme, again, other));
        shares.of(&"third".parse().expect("a name"));
        assert_eq!(shares.0.lock().expect("sound").len(), 1, "who is gone is forgotten");
    }
}
