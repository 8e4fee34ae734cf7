//! The options of `belljar tenant`.

use std::path::PathBuf;

use belljar_core::tenant::Tenant;
use clap::{Args, Subcommand};

use super::OperatorArgs;

#[derive(Debug, Args)]
pub(crate) struct TenantArgs {
    #[command(flatten)]
    pub(crate) service: OperatorArgs,
    /// The file that the gateways have as --tenants.
    #[arg(long, global = true, env = "BELLJAR_TENANTS", value_name = "FILE")]
    pub(crate) tenants: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) action: TenantAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantAction {
    /// List the tenants that have keys, or a table in the file, and what they use.
    List,
    /// Show what a tenant may do, and what it uses.
    Show {
        /// Its name.
        #[arg(value_name = "NAME")]
        name: Tenant,
    },
    /// Check a file, without a service.
    Check {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}
