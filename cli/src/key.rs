//! `belljar key`: makes, lists, revokes and rotates the keys of clients.
//!
//! It writes to Redis itself: who may do that is the operator, and the first key needs no other.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use belljar_core::api_key::{ApiKeyHash, ApiKeySecret};
use belljar_core::task::Runtime;
use belljar_gateway::audit_log::Action;
use belljar_store::Store;
use belljar_store::record::{ApiKey, KeyState, Timestamp};
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::json;

use crate::args::{KeyAction, KeyArgs, NewKeyArgs};
use crate::audit::OperatorLog;
use crate::exit::{WithHint, hinted};
use crate::operator::connect;
use crate::serve::{announce, runtime};

/// How soon a change takes effect at every gateway: as long as these believe what they read of a key, and
/// a margin.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &KeyArgs) -> Result<()> {
    runtime()?.block_on(async {
        let (store, as_json) = (connect(&args.service).await?, args.service.json);
        if matches!(args.action, KeyAction::List) {
            return list(&store, as_json).await;
        }
        let mut log = OperatorLog::open(args, &store).await?;
        match &args.action {
            KeyAction::List => Ok(()),
            KeyAction::Create(new) => create(&store, &mut log, new, as_json).await,
            KeyAction::Revoke { keys } => revoke(&store, &mut log, keys).await,
            KeyAction::Rotate { key, overlap, expires } => {
                let (secret, new) = rotate(&store, &mut log, key, *overlap, *expires).await?;
                show(&secret, &new, as_json);
                Ok(())
            }
        }
    })
}

async fn create(
    store: &Store,
    log: &mut OperatorLog,
    new: &NewKeyArgs,
    as_json: bool,
) -> Result<()> {
    let created_at = now();
    let key = ApiKey {
        name: new.name.clone(),
        tenant: new.tenant.clone(),
        scopes: new.scope.iter().copied().collect(),
        runtimes: Runtime::ALL.into_iter().filter(|&it| new.runtime.contains(it)).collect(),
        created_at,
        expires_at: new.expires.map(|time| later(created_at, time)),
        revoked_at: None,
        certificate: new.certificate.clone(),
    };
    if let Some(name) = &key.certificate {
        return create_for_certificate(store, log, name, &key, as_json).await;
    }
    let secret = secret()?;
    store.put_api_key(secret.hash(), &key).await?;
    // A key that is not recorded is never shown.
    log.record(&[(Action::CreateKey, secret.hash().id(), &key)]).await?;
    show(&secret, &key, as_json);
    Ok(())
}

/// A key without a secret: certificates with this common name stand for it.
async fn create_for_certificate(
    store: &Store,
    log: &mut OperatorLog,
    name: &str,
    key: &ApiKey,
    as_json: bool,
) -> Result<()> {
    let hash = ApiKeyHash::of_certificate(name);
    if !store.put_certificate_key(hash, key).await? {
        let id = hash.id();
        return Err(anyhow!("certificates with the common name `{name}` stand for {id} already"))
            .hint("`belljar key revoke` refuses it, then another can be made for them");
    }
    log.record(&[(Action::CreateKey, hash.id(), key)]).await?;
    match as_json {
        true => announce(&described(hash, key, key.created_at).to_string()),
        false => note(&format!(
            "{}. Client certificates with the common name `{name}` stand for it.",
            sentence(hash, key)
        )),
    }
    Ok(())
}

async fn list(store: &Store, as_json: bool) -> Result<()> {
    let (mut keys, mut unreadable) = (Vec::new(), Vec::new());
    for row in store.api_keys().await? {
        match row {
            Ok(key) => keys.push(key),
            Err(row) => unreadable.push(row.why),
        }
    }
    unreadable.iter().for_each(|why| note(why));
    let now = now();
    if as_json {
        let rows: Vec<_> = keys.iter().map(|(hash, key)| described(*hash, key, now)).collect();
        announce(&serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let heads = ["KEY", "NAME", "TENANT", "SCOPES", "RUNTIMES", "EXPIRES", "STATE"];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(keys.iter().map(|(hash, key)| {
        let expires = key.expires_at.map_or_else(|| "never".to_owned(), date);
        [
            hash.id(),
            key.name.clone(),
            key.tenant.to_string(),
            key.scopes.to_string(),
            runtimes(key),
            expires,
            state(key, now).to_owned(),
        ]
    }));
    show_table(&rows);
    Ok(())
}

/// Rows of cells, the heads first, in columns.
pub(crate) fn show_table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..COLUMNS).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        announce(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

async fn revoke(store: &Store, log: &mut OperatorLog, wanted: &[String]) -> Result<()> {
    let now = now();
    for wanted in wanted {
        let hash = find(store, wanted).await?;
        let revoke = |key: &mut ApiKey| {
            key.revoked_at.get_or_insert(now);
        };
        let key = store.change_api_key(hash, revoke, &[]).await?.context("the key is gone")?;
        log.record(&[(Action::RevokeKey, hash.id(), &key)]).await?;
        let seconds = EFFECTIVE_WITHIN.as_secs();
        announce(&format!("{} ({}) is refused within {seconds} s", hash.id(), key.name));
    }
    Ok(())
}

async fn rotate(
    store: &Store,
    log: &mut OperatorLog,
    wanted: &str,
    overlap: Duration,
    expires: Option<Duration>,
) -> Result<(ApiKeySecret, ApiKey)> {
    let hash = find(store, wanted).await?;
    let old = store.api_key(hash).await?.context("the key is gone")?;
    let now = now();
    if old.state(now) != KeyState::Valid {
        return Err(anyhow!("{} is {} already", hash.id(), state(&old, now)))
            .hint("`belljar key create` makes a new one");
    }
    if let Some(name) = &old.certificate {
        return Err(anyhow!("{} has no secret: certificates stand for it", hash.id())).hint(
            format!("a new certificate with the common name `{name}` stands for it as well"),
        );
    }
    // The new one lives as long as the old one did, unless it is told.
    let lifetime = old.expires_at.map(|end| Duration::from_micros(end.0 - old.created_at.0));
    let expires_at = expires.or(lifetime).map(|time| later(now, time));
    let new = ApiKey { created_at: now, expires_at, revoked_at: None, ..old };
    let secret = secret()?;
    let end = later(now, overlap);
    let shorten = |key: &mut ApiKey| {
        key.expires_at = Some(key.expires_at.map_or(end, |known| known.min(end)));
    };
    store.change_api_key(hash, shorten, &[(secret.hash(), &new)]).await?;
    let new_id = secret.hash().id();
    log.record(&[(Action::RotateKey, hash.id(), &new), (Action::CreateKey, new_id, &new)]).await?;
    note(&format!("{} ({}) is taken until {}.", hash.id(), new.name, date(end)));
    Ok((secret, new))
}

/// The key that a word means: an id, the key itself, or the name of one that is not revoked.
async fn find(store: &Store, wanted: &str) -> Result<ApiKeyHash> {
    let itself = ApiKeyHash::of(wanted.as_bytes());
    let keys: Vec<_> = store.api_keys().await?.into_iter().flatten().collect();
    let by_id = keys.iter().find(|(hash, _)| hash.id() == wanted || Some(*hash) == itself);
    if let Some((hash, _)) = by_id {
        return Ok(*hash);
    }
    let now = now();
    let is_named = |key: &ApiKey| key.name == wanted && key.state(now) == KeyState::Valid;
    let named: Vec<_> = keys.iter().filter(|(_, key)| is_named(key)).collect();
    match named.as_slice() {
        [(hash, _)] => Ok(*hash),
        // Not what was given: it may be a key.
        [] => Err(hinted(anyhow!("no key has this id or name"), "`belljar key list` shows them")),
        several => {
            let ids: Vec<_> = several.iter().map(|(hash, _)| hash.id()).collect();
            bail!(
                "{} keys are called `{wanted}`: name one by its id, {}",
                ids.len(),
                ids.join(", ")
            )
        }
    }
}

fn secret() -> Result<ApiKeySecret> {
    let mut random = [0; ApiKeySecret::RANDOM_BYTES];
    // So few bytes come at once or not at all.
    let count = getrandom(&mut random, GetRandomFlags::empty()).context("no random numbers")?;
    if count != random.len() {
        bail!("the system gave {count} of {} random bytes", random.len());
    }
    Ok(ApiKeySecret::new(random))
}

/// The key on standard output, for scripts; what it is on standard error.
fn show(secret: &ApiKeySecret, key: &ApiKey, as_json: bool) {
    if as_json {
        let mut row = described(secret.hash(), key, key.created_at);
        row["secret"] = secret.reveal().into();
        announce(&row.to_string());
        return;
    }
    note(&format!("{}. It is shown only now:", sentence(secret.hash(), key)));
    announce(secret.reveal());
}

/// What a key allows, for people.
fn sentence(hash: ApiKeyHash, key: &ApiKey) -> String {
    let ApiKey { name, tenant, scopes, .. } = key;
    let until = key
        .expires_at
        .map_or_else(|| "until it is revoked".to_owned(), |end| format!("until {}", date(end)));
    let (id, runtimes) = (hash.id(), runtimes(key));
    format!("Key {id} ({name}) of tenant {tenant}: {scopes}; runs {runtimes}; {until}")
}

fn described(hash: ApiKeyHash, key: &ApiKey, now: Timestamp) -> serde_json::Value {
    json!({
        "key": hash.id(),
        "name": key.name,
        "tenant": key.tenant.as_str(),
        "scopes": key.scopes.named().map(|scope| scope.as_str()).collect::<Vec<_>>(),
        "runtimes": key.runtimes,
        "created_at": date(key.created_at),
        "expires_at": key.expires_at.map(date),
        "revoked_at": key.revoked_at.map(date),
        "certificate": key.certificate,
        "state": state(key, now),
    })
}

fn runtimes(key: &ApiKey) -> String {
    let names: Vec<_> = key.runtimes.iter().map(|runtime| runtime.as_str()).collect();
    names.join(",")
}

fn state(key: &ApiKey, now: Timestamp) -> &'static str {
    match key.state(now) {
        KeyState::Valid => "valid",
        KeyState::Expired => "expired",
        KeyState::Revoked => "revoked",
    }
}

fn now() -> Timestamp {
    Timestamp::before_now(Duration::ZERO)
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
}

/// A time as people read it.
fn date(time: Timestamp) -> String {
    let time = std::time::UNIX_EPOCH + Duration::from_micros(time.0);
    humantime::format_rfc3339_seconds(time).to_string()
}

#[expect(clippy::print_stderr, reason = "what is said about the output")]
fn note(text: &str) {
    eprintln!("{text}");
}
