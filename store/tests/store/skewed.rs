//! Tenants that submit very different numbers of tasks, and what each of them gets. `examples/fairness.rs` prints it.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use belljar_core::id::{DispatcherId, FunctionId, TaskId, WorkerId};
use belljar_core::outcome::{CallVerdict, Outcome, Report};
use belljar_core::task::{CodeHash, Priority, TaskAttempt, TaskClass, TaskLimits, TaskSpec};
use belljar_core::warm::WarmMode;
use belljar_store::Store;
use belljar_store::record::{Completion, Demand, NewTask};
use bytes::Bytes;

/// How many slots the tasks have.
const SLOTS: usize = 8;
/// How many tasks each tenant gets while it is measured, if all get the same.
const EACH: usize = 4;
/// How many tasks the tenant with the most submits beyond that; the next one half as many, and so on.
const MOST: usize = 1024;

/// What tenants got of the first tasks that ran, [`EACH`] for each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    /// Jain's index of their numbers: 1 where all are equal, 1 / n where one gets everything.
    pub(crate) jain: f64,
    /// What it would be if tasks ran in the order of their submission, those of the first tenant before others.
    pub(crate) first_come: f64,
    /// The smallest and the largest number of tasks.
    pub(crate) range: (usize, usize),
}

/// Has each tenant submit all its tasks, the first one most and at high priority. Then claims for all free slots again and
/// again, and ends the older half of what runs.
///
/// # Errors
/// Redis does not answer or refuses.
pub(crate) async fn measure(store: &Store, tenants: usize) -> Result<Shares, Box<dyn Error>> {
    let class: TaskClass = "native:3.11".parse()?;
    let backlog = |tenant: usize| 2 * EACH + if tenant < 11 { MOST >> tenant } else { 0 };
    let mut owners = HashMap::new();
    for tenant in 0..tenants {
        let name = format!("t{tenant}").parse()?;
        let priority = if tenant == 0 { Priority::High } else { Priority::Low };
        let new = (0..backlog(tenant)).map(|_| new_task(class, priority)).collect();
        for id in store.of(&name).submit(new).await? {
            owners.insert(id, tenant);
        }
    }
    let measured = tenants * EACH;
    let mut got = vec![0; tenants];
    let (me, mut served) = (DispatcherId::random(), 0);
    let mut running = Vec::new();
    while served < measured {
        let free = (SLOTS - running.len()).min(measured - served);
        let demand = [Demand { classes: vec![class], count: free, reserved: 0 }];
        for task in store.claim(me, &demand).await? {
            got[owners[&task.id()]] += 1;
            served += 1;
            running.push(task.task());
        }
        let ended: Vec<_> = running.drain(..running.len().div_ceil(2)).map(completion).collect();
        store.complete(me, 0, &ended).await?;
    }
    let mut left = measured;
    let first_come = (0..tenants).map(|tenant| {
        let gets = backlog(tenant).min(left);
        left -= gets;
        gets
    });
    let first_come: Vec<_> = first_come.collect();
    let range = (got.iter().min().copied().unwrap_or(0), got.iter().max().copied().unwrap_or(0));
    Ok(Shares { jain: jain(&got), first_come: jain(&first_come), range })
}

/// Jain's index.
fn jain(got: &[usize]) -> f64 {
    let sum: f64 = got.iter().map(|&n| n as f64).sum();
    let squares: f64 = got.iter().map(|&n| (n * n) as f64).sum();
    sum * sum / (got.len() as f64 * squares)
}

fn new_task(class: TaskClass, priority: Priority) -> NewTask {
    let spec = TaskSpec {
        function_id: FunctionId::from_bytes([7; 16]),
        code: CodeHash::of(b"code"),
        class,
        limits: TaskLimits::DEFAULT,
        priority,
        grants: None,
        packages: None,
        warm: WarmMode::Auto,
    };
    let args = Bytes::from_static(b"\x80\x04)}.");
    NewTask {
        id: TaskId::random(),
        spec,
        args,
        delay_ms: 0,
        session: None,
        idempotency: None,
        trace: None,
    }
}

fn completion(task: TaskAttempt) -> Completion {
    let verdict = CallVerdict::Completed(Bytes::from_static(b"\x80\x04N."));
    let outcome = Outcome::bare(verdict, Duration::from_micros(60));
    Completion { worker: WorkerId::random(), report: Report { task, outcome } }
}
