//! What the scheduler knows of its requests to the queue: which one is under way, whether the store
//! knows how many tasks there is room for, and whether its list of leases agrees with ours.

use std::collections::HashSet;

use belljar_core::id::TaskId;
use belljar_core::task::TaskAttempt;
use belljar_store::record::Demand;

/// The state of the requests to the queue.
#[derive(Debug, Default)]
pub(crate) struct ClaimState {
    request: Request,
    demand: DemandState,
    leases: Leases,
    /// How many announced deliveries of the store are on their way.
    deliveries: usize,
    /// Tasks that were cancelled while they may be on their way here.
    cancelled: HashSet<TaskId>,
}

/// The request that is under way; at most one.
#[derive(Debug, Default)]
enum Request {
    #[default]
    None,
    Claim,
    /// Compares leases; `suspects` were unknown here in the comparison before.
    Compare {
        suspects: Suspects,
    },
}

/// Whether the store knows how many tasks there is room for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum DemandState {
    /// It does, and delivers tasks when they come.
    #[default]
    Registered,
    /// There may be tasks that the store does not deliver by itself.
    Unregistered,
    /// The store may deliver tasks that there is no room for any more.
    Overstated,
}

/// Whether the store's list of leases agrees with ours.
#[derive(Debug, Default)]
enum Leases {
    #[default]
    Agree,
    /// It must be compared. `suspects` were unknown here in the last comparison.
    Doubtful { suspects: Suspects },
}

type Suspects = HashSet<TaskAttempt>;

/// The next request to the queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextRequest {
    /// Claim tasks for this demand.
    Claim(Vec<Demand>),
    /// Compare the leases.
    Compare,
}

impl ClaimState {
    /// Whether no request and no delivery is under way.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.request, Request::None) && self.deliveries == 0
    }

    /// A claim may find tasks.
    pub(crate) fn expect_tasks(&mut self) {
        if self.demand == DemandState::Registered {
            self.demand = DemandState::Unregistered;
        }
    }

    /// There is less room than the store knows.
    pub(crate) fn overstated(&mut self) {
        self.demand = DemandState::Overstated;
    }

    /// The lists of leases may differ.
    pub(crate) fn doubt_leases(&mut self) {
        if matches!(self.leases, Leases::Agree) {
            self.leases = Leases::Doubtful { suspects: Suspects::new() };
        }
    }

    /// The store has announced a delivery.
    pub(crate) fn announced(&mut self) {
        self.deliveries += 1;
    }

    /// An announced delivery has arrived. After the last one the store delivers no more by itself.
    pub(crate) fn delivered(&mut self, is_last: bool) {
        self.deliveries = self.deliveries.saturating_sub(1);
        if is_last {
            self.expect_tasks();
        }
    }

    /// The claim is answered.
    pub(crate) fn claimed(&mut self, is_empty: bool) {
        debug_assert!(matches!(self.request, Request::Claim), "no claim is under way");
        self.request = Request::None;
        // An empty answer has registered the demand. After any other there may be more tasks.
        if !is_empty {
            self.expect_tasks();
        }
    }

    /// The claim has failed; the store may have leased tasks whose answer was lost.
    pub(crate) fn claim_failed(&mut self) {
        self.request = Request::None;
        self.expect_tasks();
        self.doubt_leases();
    }

    /// The comparison is answered. Returns the suspects of the one before.
    pub(crate) fn compared(&mut self) -> Suspects {
        match std::mem::take(&mut self.request) {
            Request::Compare { suspects } => suspects,
            other => {
                debug_assert!(false, "no comparison is under way");
                self.request = other;
                Suspects::new()
            }
        }
    }

    /// Whether a lease that is unknown here was lost. It must be a suspect already, and no delivery may
    /// be on its way. Otherwise it becomes a suspect of the next comparison.
    pub(crate) fn is_lost(&mut self, lease: TaskAttempt, suspects: &Suspects) -> bool {
        if self.deliveries == 0 && suspects.contains(&lease) {
            return true;
        }
        self.doubt_leases();
        if let Leases::Doubtful { suspects } = &mut self.leases {
            suspects.insert(lease);
        }
        false
    }

    /// A task that is not held here was cancelled. It may be on its way.
    pub(crate) fn cancel(&mut self, task_id: TaskId) {
        if !self.is_idle() {
            self.cancelled.insert(task_id);
        }
    }

    /// Whether a task that has just arrived was cancelled before.
    pub(crate) fn is_cancelled(&self, task_id: TaskId) -> bool {
        self.cancelled.contains(&task_id)
    }

    /// Begins the next request, if one is needed. Tasks are only claimed where that `is_worth` its cost; `demand` is asked
    /// for only then.
    pub(crate) fn next_request(
        &mut self,
        is_worth: bool,
        demand: impl Fn() -> Vec<Demand>,
    ) -> Option<NextRequest> {
        if !matches!(self.request, Request::None) {
            return None;
        }
        if let Leases::Doubtful { suspects } = std::mem::take(&mut self.leases) {
            self.begin(Request::Compare { suspects });
            return Some(NextRequest::Compare);
        }
        let demand = match self.demand {
            DemandState::Registered => return None,
            DemandState::Unregistered if !is_worth => return None,
            DemandState::Unregistered | DemandState::Overstated => demand(),
        };
        if demand.is_empty() && self.demand == DemandState::Unregistered {
            return None;
        }
        // Without demand the store will not tell of new tasks.
        self.demand =
            if demand.is_empty() { DemandState::Unregistered } else { DemandState::Registered };
        self.begin(Request::Claim);
        Some(NextRequest::Claim(demand))
    }

    /// Begins the claim of nothing that withdraws the demand, if the store may still deliver tasks.
    pub(crate) fn withdraw(&mut self) -> Option<NextRequest> {
        if !matches!(self.request, Request::None) || self.demand != DemandState::Overstated {
            return None;
        }
        self.demand = DemandState::Unregistered;
        self.begin(Request::Claim);
        Some(NextRequest::Claim(Vec::new()))
    }

    fn begin(&mut self, request: Request) {
        self.request = request;
        if self.deliveries == 0 {
            self.cancelled.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use belljar_core::task::Attempt;

    use super::*;

    fn lease() -> TaskAttempt {
        TaskAttempt { task_id: TaskId::random(), attempt: Attempt(1) }
    }

    #[test]
    fn demand_is_registered_once_and_withdrawn_once() {
        let mut state = ClaimState::default();
        assert_eq!(state.next_request(true, Vec::new), None);
        state.overstated();
        assert_eq!(state.withdraw(), Some(NextRequest::Claim(Vec::new())));
        assert_eq!(state.withdraw(), None, "a request is under way");
        state.claimed(true);
        assert_eq!(state.withdraw(), None, "the store knows");
        assert!(state.is_idle());
    }

    #[test]
    fn an_unknown_lease_is_lost_in_the_second_comparison() {
        let mut state = ClaimState::default();
        let lease = lease();
        state.doubt_leases();
        assert_eq!(state.next_request(true, Vec::new), Some(NextRequest::Compare));
        let suspects = state.compared();
        assert!(!state.is_lost(lease, &suspects));
        assert_eq!(state.next_request(true, Vec::new), Some(NextRequest::Compare));
        let suspects = state.compared();
        assert!(state.is_lost(lease, &suspects));
        assert_eq!(state.next_request(true, Vec::new), None);
    }

    #[test]
    fn a_lease_is_not_lost_while_a_delivery_is_on_its_way() {
        let mut state = ClaimState::default();
        let lease = lease();
        state.announced();
        assert!(!state.is_lost(lease, &Suspects::from([lease])));
        state.delivered(false);
        assert!(state.is_lost(lease, &Suspects::from([lease])));
    }
}
