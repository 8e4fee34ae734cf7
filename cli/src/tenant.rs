//! `belljar tenant`: shows what tenants may do, and checks the file that says so.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use belljar_core::tenant::Tenant;
use belljar_gateway::policy::{PolicyFile, TenantPolicy};
use belljar_store::Store;
use serde_json::{Value, json};

use crate::args::{TenantAction, TenantArgs};
use crate::key::{connect, show_table};
use crate::serve::{announce, runtime};

/// What is shown where there is no bound.
const NO_BOUND: &str = "-";

pub(crate) fn run(args: &TenantArgs) -> Result<()> {
    let as_json = args.service.json;
    match &args.action {
        TenantAction::Check { file } => check(file),
        TenantAction::Show { name } => show(&policies(args)?.policy(name), as_json),
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

async fn list(store: &Store, policies: &PolicyFile, as_json: bool) -> Result<()> {
    let keys: Vec<_> = store.api_keys().await?.into_iter().flatten().collect();
    let mut tenants: BTreeSet<&Tenant> = policies.named().collect();
    tenants.extend(keys.iter().map(|(_, key)| &key.tenant));
    let policies: Vec<_> = tenants.into_iter().map(|tenant| policies.policy(tenant)).collect();
    if as_json {
        announce(&serde_json::to_string_pretty(&policies)?);
        return Ok(());
    }
    let mut rows = vec![["TENANT", "KEYS", "RUNTIMES", "PRIORITY", "WEIGHT"].map(str::to_owned)];
    rows.extend(policies.iter().map(|policy| {
        let count = keys.iter().filter(|(_, key)| key.tenant == policy.tenant).count();
        let runtimes: Vec<_> = policy.runtimes.iter().map(|runtime| runtime.as_str()).collect();
        [
            policy.tenant.to_string(),
            count.to_string(),
            runtimes.join(","),
            policy.max_priority.to_string(),
            policy.weight.to_string(),
        ]
    }));
    show_table(&rows);
    Ok(())
}

fn show(policy: &TenantPolicy, as_json: bool) -> Result<()> {
    let policy = json!(policy);
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
