//! `belljar audit` checks audit logs; here is also what commands of the operator record.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use belljar_gateway::audit_log::{self, Action, AuditFile, AuditRecord, ChainHash, Verified};
use belljar_store::record::ApiKey;
use serde_json::json;

use crate::args::{AuditAction, AuditArgs, KeyArgs};
use crate::exit::WithHint;
use crate::serve::announce;

/// The file in the data directory of `belljar up` that names its audit log, for the operator's commands.
const POINTER: &str = "audit-log";

pub(crate) fn run(args: &AuditArgs) -> Result<()> {
    let AuditAction::Verify { files, contains, json } = &args.action;
    let verified = audit_log::verify(files, *contains).hint(
        "what stands before that place is as it was written; compare the rest with a copy from elsewhere",
    )?;
    let shown = if *json { described(&verified) } else { sentences(&verified) };
    announce(&shown);
    Ok(())
}

fn described(verified: &Verified) -> String {
    let Verified { records, before, last, torn, ends_torn } = verified;
    json!({
        "records": records,
        "is_from_the_beginning": *before == ChainHash::NONE,
        "before": before.to_string(),
        "last": last.to_string(),
        "torn": torn,
        "ends_torn": ends_torn,
    })
    .to_string()
}

fn sentences(verified: &Verified) -> String {
    let Verified { records, before, last, torn, ends_torn } = verified;
    let begins = match *before == ChainHash::NONE {
        true => "from the beginning".to_owned(),
        false => format!("after the record {before}, which is in an earlier file"),
    };
    let mut text = format!("{records} records follow each other, {begins}. The last is {last}");
    for place in torn {
        text += &format!(
            "\n{place} was not written to its end: a process was killed, or the disk was full"
        );
    }
    if *ends_torn {
        text += "\nThe log ends there: nothing was recorded since";
    }
    text
}

/// Names the audit log of a service in its data directory, or that it has none.
pub(crate) fn point(data: &Path, log: Option<&Path>) -> Result<()> {
    let pointer = data.join(POINTER);
    let done = match log {
        Some(log) => std::path::absolute(log)
            .and_then(|log| std::fs::write(&pointer, log.as_os_str().as_encoded_bytes())),
        None if pointer.exists() => std::fs::remove_file(&pointer),
        None => Ok(()),
    };
    done.with_context(|| format!("cannot write `{}`", pointer.display()))
}

/// The audit log of a command of the operator.
pub(crate) struct OperatorLog(Option<AuditFile>);

impl OperatorLog {
    /// Opens the log that is named, or that of the service in the data directory. Before anything is changed, since what
    /// cannot be recorded is not done.
    pub(crate) fn open(args: &KeyArgs) -> Result<Self> {
        let pointed = || {
            let pointer = args.service.data.dir().ok()?.join(POINTER);
            let is_private = args.service.redis.is_none();
            std::fs::read_to_string(pointer).ok().filter(|_| is_private).map(PathBuf::from)
        };
        let path = args.audit_log.clone().or_else(pointed);
        Ok(Self(path.map(|path| AuditFile::open(&path)).transpose()?))
    }

    /// Records what was done to keys.
    pub(crate) fn record(&mut self, done: &[(Action, String, &ApiKey)]) -> Result<()> {
        let Some(log) = &mut self.0 else { return Ok(()) };
        let user = format!("uid {}", rustix::process::getuid().as_raw());
        let record = |(action, id, key): &(Action, String, &ApiKey)| {
            AuditRecord::now(*action).about_key(id.clone(), &key.tenant, user.clone())
        };
        let records: Vec<_> = done.iter().map(record).collect();
        log.append(&records).1.context("it is done, and could not be recorded")
    }
}
