//! The file of policies as it is now, and the tenants that have been here.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use belljar_core::tenant::Tenant;

use super::{Account, PolicyError, PolicyFile};
use crate::audit_log::{Action, AuditLog, AuditRecord};
use crate::stamp::{LOOK, Stamp};

/// A file of policies, and what its tenants have open here.
#[derive(Debug)]
pub struct Tenants {
    path: PathBuf,
    /// That of the file as it was read at the start.
    stamp: Stamp,
    file: RwLock<Arc<PolicyFile>>,
    /// Those whose keys were shown.
    accounts: Mutex<HashMap<Tenant, Arc<Account>>>,
}

impl Tenants {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn load(path: PathBuf) -> Result<Self, PolicyError> {
        // Before it is read: what changes meanwhile is read again.
        let stamp = Stamp::of(&path);
        let file = RwLock::new(Arc::new(PolicyFile::read(&path)?));
        Ok(Self { path, stamp, file, accounts: Mutex::default() })
    }

    /// The file as it was read last.
    pub(crate) fn file(&self) -> Arc<PolicyFile> {
        Arc::clone(&self.file.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a tenant has here.
    pub(crate) fn account(&self, tenant: &Tenant) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Account::new(self.file().policy(tenant)));
        Arc::clone(accounts.entry(tenant.clone()).or_insert_with(new))
    }

    /// Reads the file again whenever it has changed, and records that in `log`. What is broken is told once, and
    /// the last good one is kept. Never returns.
    pub(crate) async fn reload(&self, log: Option<&AuditLog>) -> Infallible {
        let mut known = self.stamp;
        loop {
            tokio::time::sleep(LOOK).await;
            let stamp = Stamp::of(&self.path);
            if stamp == known {
                continue;
            }
            known = stamp;
            match PolicyFile::read(&self.path) {
                Ok(file) => {
                    self.replace(file);
                    tracing::info!("the tenants file was read again");
                    let read = || AuditRecord::now(Action::ReadTenants).by_process();
                    let path = || self.path.display().to_string();
                    log.iter().for_each(|log| log.record(read().about(path())));
                }
                Err(error) => {
                    tracing::warn!("{error}; the policies from before are kept");
                }
            }
        }
    }

    fn replace(&self, file: PolicyFile) {
        // Under this lock no account is made from the old file meanwhile.
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        for (tenant, account) in accounts.iter() {
            account.set_policy(file.policy(tenant));
        }
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(file);
    }
}
