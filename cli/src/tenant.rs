//! `belljar tenant`: shows what tenants may do, and checks the file that says so.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use belljar_core::tenant::Tenant;
use belljar_gateway::policy::{PolicyFile, TenantPolicy};
use belljar_store::Store;
use belljar_store::record::TenantUsage;
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{TenantAction, TenantArgs};
use crate::key::show_table;
use crate::operator::connect;
use crate::serve::{announce, runtime};

/// What is shown where there is no bound.
const NO_BOUND: &str = "-";

pub(crate) fn run(args: &TenantArgs) -> Result<()> {
    let as_json = args.service.json;
    match &args.action {
        TenantAction::Check { file } => check(file),
        TenantAction::Show { name } => runtime()?.block_on(async {
            let policy = policies(args)?.policy(name);
            let used = connect(&args.service).await?.of(name).usage().await?;
            show(&policy, &Use::of(&used), as_json)
        }),
        TenantAction::List => runtime()?.block_on(async {
            list(&connect(&args.service).await?, &policies(args)?, as_json).await
        }),
    }
}

/// The file; without one nothing is restricted.
fn policies(args: &TenantArgs) -> Result<PolicyFile> {
    Ok(args.tenants.as_deref().map(PolicyFile::read).transpose()?.unwrap_or_default())
}

fn check(path: &Path) -> Result<()> {
    let file = PolicyFile::read(path)?;
    let named: Vec<_> = file.named().map(Tenant::as_str).collect();
    let named = if named.is_empty() { "no tenant".to_owned() } else { named.join(", ") };
    announce(&format!("`{}` is right; it has tables for {named}", path.display()));
    Ok(())
}

/// What a tenant uses of the quotas that the store counts, in their units.
#[derive(Debug, Clone, Copy, Serialize)]
struct Use {
    functions: u64,
    stored_mb: u64,
    queued_tasks: u64,
    running_tasks: u64,
    cpu_s_per_hour: u64,
    cpu_s_per_day: u64,
    memory_mb_s_per_hour: u64,
    memory_mb_s_per_day: u64,
}

impl Use {
    const fn of(usage: &TenantUsage) -> Self {
        let TenantUsage { functions, stored_bytes, tasks, running, hour, day } = *usage;
        Self {
            functions,
            stored_mb: stored_bytes >> 20,
            queued_tasks: tasks.saturating_sub(running),
            running_tasks: running,
            cpu_s_per_hour: hour.cpu_us / 1_000_000,
            cpu_s_per_day: day.cpu_us / 1_000_000,
            memory_mb_s_per_hour: hour.memory_mb_ms / 1_000,
            memory_mb_s_per_day: day.memory_mb_ms / 1_000,
        }
    }
}

async fn list(store: &Store, policies: &PolicyFile, as_json: bool) -> Result<()> {
    let keys: Vec<_> = store.api_keys().await?.into_iter().flatten().collect();
    let mut tenants: BTreeSet<&Tenant> = policies.named().collect();
    tenants.extend(keys.iter().map(|(_, key)| &key.tenant));
    let mut rows = Vec::new();
    for tenant in tenants {
        rows.push((policies.policy(tenant), Use::of(&store.of(tenant).usage().await?)));
    }
    if as_json {
        let rows: Vec<_> = rows.iter().map(|(policy, used)| described(policy, used)).collect();
        announce(&serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let heads =
        ["TENANT", "KEYS", "RUNTIMES", "WEIGHT", "FUNCTIONS", "STORED MB", "QUEUED", "RUNNING"];
    let mut table = vec![heads.map(str::to_owned)];
    table.extend(rows.iter().map(|(policy, used)| {
        let count = keys.iter().filter(|(_, key)| key.tenant == policy.tenant).count();
        let runtimes: Vec<_> = policy.runtimes.iter().map(|runtime| runtime.as_str()).collect();
        [
            policy.tenant.to_string(),
            count.to_string(),
            runtimes.join(","),
            policy.weight.get().to_string(),
            used.functions.to_string(),
            used.stored_mb.to_string(),
            used.queued_tasks.to_string(),
            used.running_tasks.to_string(),
        ]
    }));
    show_table(&table);
    Ok(())
}

fn described(policy: &TenantPolicy, used: &Use) -> Value {
    let mut described = json!(policy);
    described["used"] = json!(used);
    described
}

fn show(policy: &TenantPolicy, used: &Use, as_json: bool) -> Result<()> {
    let policy = described(policy, used);
    if as_json {
        announce(&serde_json::to_string_pretty(&policy)?);
        return Ok(());
    }
    let mut rows = Vec::new();
    for (name, value) in policy.as_object().context("a policy is an object")? {
        match value {
            Value::Object(fields) => {
                rows.extend(
                    fields.iter().map(|(field, value)| [format!("{name}.{field}"), shown(value)]),
                );
            }
            value => rows.push([name.clone(), shown(value)]),
        }
    }
    show_table(&rows);
    Ok(())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => NO_BOUND.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        value => value.to_string(),
    }
}
