//! What one tenant may have of what all tenants share at this gateway, where the operator's file does not say: the rest is
//! for the others, whatever it does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use belljar_core::tenant::Tenant;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::policy::{Quota, QuotaExceeded};

/// One tenant, or one address, leaves one part in so many to the others.
const PARTS: u64 = 8;
/// A request about so many tasks or functions is large.
pub(crate) const LARGE: usize = 64;
/// The longest rest after a large request, and the shortest that is worth its name.
const LONGEST_REST: Duration = Duration::from_millis(250);
const SHORTEST_REST: Duration = Duration::from_millis(1);
/// So many submissions of a tenant are in the store at once: those of others need not wait there for more.
const IN_STORE: usize = 8;
/// For so long others wait: a store that takes longer waits for its disk, its replicas or the network, and not for its processor.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long the refusal of one open request too many is held back at least, and in how many steps of how many ms others
/// are held back longer: who asks again at once, over and over, takes little time of the gateway, and not at one moment.
const HELD_BACK_MS: u64 = 100;
const STEPS: u64 = 50;
const STEP_MS: u64 = 8;
/// When another try makes sense.
const SOON: Duration = Duration::from_secs(1);

/// Other tenants are there for so long after their last request.
const PRESENCE: Duration = Duration::from_secs(1);

/// How much of `all` one may have.
pub(crate) const fn of_one(all: u64) -> u64 {
    all - all / PARTS
}

/// The shares of tenants whose keys were shown and are not forgotten.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    of: Mutex<HashMap<Tenant, Weak<Share>>>,
    presence: Arc<Presence>,
    made: AtomicU64,
}

/// Whether several tenants use this gateway.
#[derive(Debug)]
struct Presence {
    /// Whose request came last: the number of its share.
    last: AtomicU64,
    /// When a request came that was another tenant's than the one before: ms since `begun`, from `PRESENCE` on.
    changed: AtomicU64,
    begun: Instant,
}

impl Default for Presence {
    fn default() -> Self {
        Self { last: AtomicU64::default(), changed: AtomicU64::default(), begun: Instant::now() }
    }
}

impl Presence {
    fn now(&self) -> u64 {
        (self.begun.elapsed() + PRESENCE).as_millis() as u64
    }

    fn note(&self, share: u64) {
        if self.last.load(Ordering::Relaxed) != share
            && self.last.swap(share, Ordering::Relaxed) != 0
        {
            self.changed.store(self.now(), Ordering::Relaxed);
        }
    }

    fn is_shared(&self) -> bool {
        self.now().saturating_sub(self.changed.load(Ordering::Relaxed))
            < PRESENCE.as_millis() as u64
    }
}

impl Shares {
    /// That of a tenant.
    pub(crate) fn of(&self, tenant: &Tenant) -> Arc<Share> {
        let mut shares = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(tenant).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share {
            tenant: tenant.clone(),
            number: self.made.fetch_add(1, Ordering::Relaxed) + 1,
            presence: Arc::clone(&self.presence),
            requests: AtomicU64::default(),
            tasks: AtomicU64::default(),
            refused: AtomicU64::default(),
            places: Semaphore::new(IN_STORE),
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
    /// Which one it is among all that were made, from 1 on.
    number: u64,
    presence: Arc<Presence>,
    requests: AtomicU64,
    tasks: AtomicU64,
    /// Requests that were refused.
    refused: AtomicU64,
    /// For its submissions that are in the store.
    places: Semaphore,
    /// The turn of its large requests.
    large: Arc<Semaphore>,
}

/// The turn of a large request. Once it is dropped, the tenant's next turn comes after a rest as long as this one, where others are
/// there: at most half of the time goes to the large requests of one tenant.
pub(crate) type Turn = Option<HeldTurn>;

/// A turn that was taken.
#[derive(Debug)]
pub(crate) struct HeldTurn {
    /// There until it is dropped.
    permit: Option<OwnedSemaphorePermit>,
    since: Instant,
    presence: Arc<Presence>,
}

impl Drop for HeldTurn {
    fn drop(&mut self) {
        if !self.presence.is_shared() {
            return;
        }
        let (permit, rest) = (self.permit.take(), self.since.elapsed().min(LONGEST_REST));
        // Without a runtime nobody waits.
        if let (false, Ok(runtime)) = (rest < SHORTEST_REST, Handle::try_current()) {
            runtime.spawn(async move {
                tokio::time::sleep(rest).await;
                drop(permit);
            });
        }
    }
}

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
        let permit = Arc::clone(&self.large).acquire_owned().await.ok();
        Some(HeldTurn { permit, since: Instant::now(), presence: Arc::clone(&self.presence) })
    }

    /// Whether other tenants have asked this gateway for something just now.
    pub(crate) fn has_company(&self) -> bool {
        self.presence.is_shared()
    }

    /// Waits for one of the tenant's places in the store, until it is dropped; not for long.
    pub(crate) async fn place_in_store(&self) -> Option<SemaphorePermit<'_>> {
        match self.places.try_acquire() {
            Ok(place) => Some(place),
            Err(_) => timeout(PATIENCE, self.places.acquire()).await.ok()?.ok(),
        }
    }

    /// How long to hold the next refusal back.
    pub(crate) fn hold_back(&self) -> Duration {
        let step = self.refused.fetch_add(1, Ordering::Relaxed) % STEPS;
        Duration::from_millis(HELD_BACK_MS + STEP_MS * step)
    }

    /// Counts `count` more, of which there may be `limit`.
    pub(crate) fn take(
        self: &Arc<Self>,
        quota: Quota,
        count: u64,
        limit: u64,
    ) -> Result<SharePermit, QuotaExceeded> {
        self.presence.note(self.number);
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

    #[tokio::test(start_paused = true)]
    async fn after_a_turn_its_tenant_rests_as_long_where_others_are_there() {
        let shares = Shares::default();
        let [acme, other] = ["acme", "other"].map(|name| shares.of(&name.parse().expect("a name")));
        for (others, took, least, most) in
            [(0, 100, 0, 1), (1, 100, 100, 150), (1, 10_000, 250, 300)]
        {
            for share in [&acme, &other].into_iter().take(1 + others) {
                drop(share.take(Quota::OpenRequests, 1, 1));
            }
            let mut turn = acme.turn(LARGE).await.expect("a turn");
            turn.since = turn.since.checked_sub(Duration::from_millis(took)).expect("a time");
            drop(turn);
            let asked = tokio::time::Instant::now();
            assert!(acme.turn(LARGE).await.is_some());
            let rested = asked.elapsed();
            assert!(rested >= Duration::from_millis(least), "{rested:?}");
            assert!(rested < Duration::from_millis(most), "{rested:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_has_so_many_places_in_the_store_and_waits_for_one_not_for_long() {
        let shares = Shares::default();
        let [acme, other] = ["acme", "other"].map(|name| shares.of(&name.parse().expect("a name")));
        let mut places = Vec::new();
        for _ in 0..IN_STORE {
            places.push(acme.place_in_store().await.expect("a place"));
        }
        assert!(other.place_in_store().await.is_some(), "another tenant does not wait");
        let mut next = pin!(acme.place_in_store());
        assert!(poll!(next.as_mut()).is_pending(), "one more waits");
        places.pop();
        let _place = next.await.expect("its place");
        let asked = tokio::time::Instant::now();
        assert!(acme.place_in_store().await.is_none(), "the store is slow");
        assert!(asked.elapsed() >= PATIENCE && asked.elapsed() < 2 * PATIENCE);
    }

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
        let refusals: Vec<_> = (0..=STEPS).map(|_| acme.hold_back()).collect();
        assert!(refusals.windows(2).all(|two| two[0] != two[1]), "not all at one moment");
        assert_eq!(refusals[0], refusals[STEPS as usize]);
        drop((acme, again, other));
        shares.of(&"third".parse().expect("a name"));
        assert_eq!(shares.of.lock().expect("sound").len(), 1, "who is gone is forgotten");
    }
}
