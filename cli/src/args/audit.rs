//! The options of `belljar audit`.

use std::path::PathBuf;

use belljar_gateway::audit_log::ChainHash;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) action: AuditAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditAction {
    /// Check that no record was changed, removed or put in between.
    Verify {
        /// The audit log; where it was rotated, its files, the oldest first.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// The hash of a record that must be among them, such as the last one that was shown before: then nothing was cut
        /// off at the end since.
        #[arg(long, env = "BELLJAR_AUDIT_CONTAINS", value_name = "HASH")]
        contains: Option<ChainHash>,
        /// Print JSON.
        #[arg(long, env = "BELLJAR_JSON")]
        json: bool,
    },
}
