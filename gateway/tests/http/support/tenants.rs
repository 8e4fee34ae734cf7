//! A file of policies that a gateway watches.

use std::sync::Arc;

use belljar_gateway::Config;
use belljar_gateway::policy::Tenants;

/// The file; it goes with this.
pub(crate) struct TenantsFile(tempfile::TempDir);

impl TenantsFile {
    pub(crate) fn new(text: &str) -> Self {
        let file = Self(tempfile::tempdir().expect("a directory"));
        file.write(text);
        file
    }

    /// Puts another file in its place.
    pub(crate) fn write(&self, text: &str) {
        let (new, path) = (self.0.path().join("new"), self.0.path().join("tenants.toml"));
        std::fs::write(&new, text).expect("written");
        std::fs::rename(new, path).expect("renamed");
    }

    /// Has a gateway watch it.
    pub(crate) fn configure(&self, config: &mut Config) {
        let tenants = Tenants::load(self.0.path().join("tenants.toml")).expect("a right file");
        config.tenants = Some(Arc::new(tenants));
    }
}
