//! `belljar audit` checks audit logs; here is also what commands of the operator record.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use belljar_gateway::audit_log::{
    self, Action, AuditFile, AuditRecord, AuditStream, ChainHash, Verified,
};
use belljar_store::Store;
use belljar_store::record::ApiKey;
use serde_json::json;

use crate::args::{AuditAction, AuditArgs, KeyArgs};
use crate::exit::WithHint;
use crate::operator::connect;
use crate::serve::{announce, runtime};

/// The file in the data directory of `belljar up` that names its audit log, for the operator's commands.
const POINTER: &str = "audit-log";

pub(crate) fn run(args: &AuditArgs) -> Result<()> {
    let AuditAction::Verify { files, stream, contains } = &args.action;
    let verified = match stream {
        Some(true) => runtime()?.block_on(async {
            let store = connect(&args.service).await?;
            anyhow::Ok(audit_log::verify_stream(&store, *contains).await)
        })?,
        _ => audit_log::verify(files, *contains),
    };
    let verified = verified.hint(
        "what stands before that place is as it was written; compare the rest with a copy from elsewhere",
    )?;
    let shown = if args.service.json { described(&verified) } else { sentences(&verified) };
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
        false => format!("after the record {before}, which is not among them"),
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

/// The audit logs of a command of the operator.
pub(crate) struct OperatorLog {
    file: Option<AuditFile>,
    stream: Option<AuditStream>,
}

impl OperatorLog {
    /// Opens the log that is named, or that of the service in the data directory, and the one in the store if there is one. Before
    /// anything is changed, since what cannot be recorded is not done.
    pub(crate) async fn open(args: &KeyArgs, store: &Store) -> Result<Self> {
        let pointed = || {
            let pointer = args.service.data.dir().ok()?.join(POINTER);
            let is_private = args.service.redis.is_none();
            std::fs::read_to_string(pointer).ok().filter(|_| is_private).map(PathBuf::from)
        };
        let path = args.audit_log.clone().or_else(pointed);
        let file = path.map(|path| AuditFile::open(&path)).transpose()?;
        Ok(Self { file, stream: AuditStream::existing(store.clone()).await? })
    }

    /// Records what was done to keys.
    pub(crate) async fn record(&mut self, done: &[(Action, String, &ApiKey)]) -> Result<()> {
        const FAILED: &str = "it is done, and could not be recorded";
        let user = format!("uid {}", rustix::process::getuid().as_raw());
        let record = |(action, id, key): &(Action, String, &ApiKey)| {
            AuditRecord::now(*action).about_key(id.clone(), &key.tenant, user.clone())
        };
        let records: Vec<_> = done.iter().map(record).collect();
        if let Some(stream) = &mut self.stream {
            stream.append(&records).await.context(FAILED)?;
        }
        match &mut self.file {
            Some(file) => file.append(&records).1.context(FAILED),
            None => Ok(()),
        }
    }
}
