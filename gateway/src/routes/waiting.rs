//! Why a task waits.

use belljar_core::task::TaskStatus;
use belljar_store::record::{TaskRecord, Timestamp};
use belljar_store::{Store, StoreError};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

use crate::reply::rfc3339;

/// Why a queued task does not run yet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Waiting)]
pub(super) struct WaitingView {
    /// `delayed`, `session` (another call of its session is before it), `no_worker`, `quota` (its tenant runs as many tasks as it may), `slots_busy`, or `turn`: a slot is free, and the
    /// task is about to get it.
    reason: &'static str,
    /// The same as a sentence.
    detail: String,
}

/// Why a task waits, whose tenant may run `running_tasks` at once; `None` for one that does not.
pub(super) async fn reason(
    store: &Store,
    task: &TaskRecord,
    running_tasks: Option<u64>,
) -> Result<Option<WaitingView>, StoreError> {
    if task.status != TaskStatus::Queued {
        return Ok(None);
    }
    if let Some(due_at) = task.due_at
        && due_at > Timestamp::before_now(Duration::ZERO)
    {
        let detail = format!("its delay ends at {}", rfc3339(due_at));
        return Ok(Some(WaitingView { reason: "delayed", detail }));
    }
    if let Some(id) = task.session {
        let session = store.of(&task.tenant).session(id).await?;
        if let Some(active) = session.and_then(|it| it.active).filter(|active| *active != task.id) {
            let detail =
                format!("the calls of session {id} run one after the other: {active} is before it");
            return Ok(Some(WaitingView { reason: "session", detail }));
        }
    }
    let class = task.spec.class;
    let workers = store
        .workers()
        .await?
        .into_iter()
        .filter(|it| it.classes.iter().any(|own| own.serves(&class)));
    let slots = workers.map(|worker| (worker.slots, worker.slots.saturating_sub(worker.busy)));
    let (all, free) = slots.fold((0, 0), |(all, free), (of, idle)| (all + of, free + idle));
    if let Some(most) = running_tasks.filter(|_| all > 0) {
        let runs = store.of(&task.tenant).usage().await?.running;
        if runs >= most {
            let detail = format!(
                "tenant `{}` runs {runs} tasks, as many as its quota `running_tasks` allows: it runs when one of them has ended",
                task.tenant
            );
            return Ok(Some(WaitingView { reason: "quota", detail }));
        }
    }
    let again = if task.failures.is_empty() { "" } else { ", and its last attempt was lost" };
    let (reason, detail) = match (all, free) {
        (0, _) => ("no_worker", format!("no connected worker serves {class}: start one that does")),
        (_, 0) => ("slots_busy", format!("every slot for {class} is busy{again}")),
        _ => ("turn", format!("a slot for {class} is free or about to be: it is next{again}")),
    };
    Ok(Some(WaitingView { reason, detail }))
}
