//! The options of `belljar audit`.

use std::path::PathBuf;

use belljar_gateway::audit_log::ChainHash;
use clap::{ArgAction, Args, Subcommand};

use super::key::OperatorArgs;

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pub(crate) service: OperatorArgs,
    #[command(subcommand)]
    pub(crate) action: AuditAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditAction {
    /// Check that no record was changed, removed or put in between.
    Verify {
        /// The audit log; where it was rotated, its files, the oldest first.
        #[arg(value_name = "FILE", required_unless_present = "stream")]
        files: Vec<PathBuf>,
        /// Check the log that gateways keep in the store of the service (`--audit-stream`).
        #[arg(long, env = "BELLJAR_AUDIT_VERIFY_STREAM", value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set, conflicts_with = "files")]
        stream: Option<bool>,
        /// The hash of a record that must be among them, such as the last one that was shown before: then nothing was cut
        /// off at the end since.
        #[arg(long, env = "BELLJAR_AUDIT_CONTAINS", value_name = "HASH")]
        contains: Option<ChainHash>,
    },
}
