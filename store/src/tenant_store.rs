//! The store as one tenant sees it. What belongs to another is unknown, as if it did not exist.

use belljar_core::args::ValueRef;
use belljar_core::id::{BlobId, FunctionId, SessionId, TaskId};
use belljar_core::sha256::Sha256Hash;
use belljar_core::tenant::{Tenant, Weight};
use bytes::Bytes;

use crate::Store;
use crate::encoded_tasks::Submitter;
use crate::error::StoreError;
use crate::record::{
    CancelOutcome, FunctionRecord, Idempotency, NewTask, Page, SessionRecord, StoreQuotas,
    TaskFilter, TaskRecord, TaskResult, TaskSummary, TenantUsage, UnreadableRecord,
};
use crate::session::NewSession;
use crate::upload::{Upload, UploadEnd, UploadedValue};
use crate::value_ref::ValueState;

/// A view of a [`Store`] for one tenant.
#[derive(Clone, Copy)]
pub struct TenantStore<'a> {
    store: &'a Store,
    tenant: &'a Tenant,
    weight: Weight,
    quotas: Option<StoreQuotas>,
    pauses: bool,
}

impl Store {
    /// The store as `tenant` sees it.
    #[must_use]
    pub fn of<'a>(&'a self, tenant: &'a Tenant) -> TenantStore<'a> {
        TenantStore { store: self, tenant, weight: Weight::default(), quotas: None, pauses: false }
    }
}

impl TenantStore<'_> {
    /// The same view, which holds the tenant to quotas. With `None` its use is not counted either, but for functions.
    #[must_use]
    pub const fn with_quotas(self, quotas: Option<StoreQuotas>) -> Self {
        Self { quotas, ..self }
    }

    /// The same view, whose submissions tell the store that the tenant has this weight from now on.
    #[must_use]
    pub const fn with_weight(self, weight: Weight) -> Self {
        Self { weight, ..self }
    }

    /// The same view, whose large batches pause after each of their parts for as long as that took: others find the store free.
    #[must_use]
    pub const fn with_pauses(self, pauses: bool) -> Self {
        Self { pauses, ..self }
    }

    /// [`Store::submit`], as this tenant's tasks.
    ///
    /// # Errors
    /// Those of [`Store::submit`].
    pub async fn submit(&self, tasks: Vec<NewTask>) -> Result<Vec<TaskId>, StoreError> {
        let Self { tenant, weight, quotas, pauses, .. } = *self;
        self.store.submit_of(Submitter { tenant, weight, quotas, pauses }, tasks).await
    }

    /// The first task of what the tenant has submitted under a key; `None` for a key that is free.
    ///
    /// # Errors
    /// Another body was submitted under it, or Redis does not answer or refuses.
    pub async fn submitted(&self, same: &Idempotency) -> Result<Option<TaskId>, StoreError> {
        self.store.submitted_of(self.tenant, same).await
    }

    /// Makes a session; `None` where it should go on from one that is not known.
    ///
    /// # Errors
    /// A quota is used up, or Redis does not answer or refuses.
    pub async fn make_session(&self, new: NewSession<'_>) -> Result<Option<SessionId>, StoreError> {
        self.store.make_session_of(self.tenant, self.quotas.unwrap_or_default(), new).await
    }

    /// Sessions, the newest first. A page may hold fewer than `limit` though more follow: only so many are looked at for one.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn sessions(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<SessionRecord>, StoreError> {
        self.store.sessions_of(self.tenant, cursor, limit).await
    }

    /// One session.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn session(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        self.store.session_of(self.tenant, id).await
    }

    /// Deletes a session: its calls that wait are cancelled. Whether there was one.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn delete_session(&self, id: SessionId) -> Result<bool, StoreError> {
        self.store.delete_session_of(self.tenant, id).await
    }

    /// [`Store::cancel`].
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn cancel(&self, id: TaskId) -> Result<Option<CancelOutcome>, StoreError> {
        self.store.cancel_of(Some(self.tenant), id).await
    }

    /// [`Store::results`].
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn results(&self, ids: &[TaskId]) -> Result<Vec<Option<TaskResult>>, StoreError> {
        self.results_within(ids, u64::MAX).await
    }

    /// [`Store::results_within`].
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn results_within(
        &self,
        ids: &[TaskId],
        room: u64,
    ) -> Result<Vec<Option<TaskResult>>, StoreError> {
        self.store.results_of(Some(self.tenant), ids, room).await
    }

    /// [`Store::task`].
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn task(&self, id: TaskId) -> Result<Option<TaskRecord>, StoreError> {
        let found = self.store.task(id).await?;
        Ok(found.filter(|task| task.tenant == *self.tenant))
    }

    /// [`Store::tasks`].
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn tasks(
        &self,
        filter: TaskFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<Result<TaskSummary, UnreadableRecord>>, StoreError> {
        self.store.tasks_of(self.tenant, filter, cursor, limit).await
    }

    /// [`Store::summaries`]; ask only for tasks of this tenant.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn summaries(&self, ids: &[TaskId]) -> Result<Vec<TaskSummary>, StoreError> {
        self.store.summaries(ids).await
    }

    /// A function's record; see [`Store::function`].
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn function(&self, id: FunctionId) -> Result<Option<FunctionRecord>, StoreError> {
        let found = self.store.function(id).await?;
        Ok(found.filter(|function| function.tenant == *self.tenant))
    }

    /// Counts the bytes of an upload in pieces for the tenant, for as long as a value is kept. The value, where it is there already.
    ///
    /// # Errors
    /// A quota is used up, or Redis does not answer or refuses.
    pub async fn reserve_upload(
        &self,
        id: BlobId,
        bytes: u64,
    ) -> Result<Option<UploadedValue>, StoreError> {
        let quotas = self.quotas.unwrap_or_default();
        self.store.reserve_upload_of(self.tenant, quotas, (id, bytes)).await
    }

    /// Keeps what was uploaded for the tenant, if it has the hash that it should have.
    ///
    /// # Errors
    /// A quota is used up, the directory cannot be written to, or Redis does not answer or refuses.
    pub async fn keep_upload(
        &self,
        upload: Upload,
        expected: Option<Sha256Hash>,
    ) -> Result<UploadEnd, StoreError> {
        let quotas = self.quotas.unwrap_or_default();
        self.store.keep_upload_of(self.tenant, quotas, upload, expected).await
    }

    /// A value that the tenant has uploaded.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn uploaded(&self, id: BlobId) -> Result<Option<UploadedValue>, StoreError> {
        self.store.uploaded_of(self.tenant, id).await
    }

    /// Forgets a value that the tenant has uploaded, and returns what it was. Tasks that refer to it still run.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn drop_upload(&self, id: BlobId) -> Result<Option<UploadedValue>, StoreError> {
        self.store.drop_upload_of(self.tenant, id).await
    }

    /// A value that arguments refer to.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn value(&self, value: ValueRef) -> Result<ValueState, StoreError> {
        self.store.value_of(self.tenant, value).await
    }

    /// What the tenant uses.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn usage(&self) -> Result<TenantUsage, StoreError> {
        self.store.usage_of(self.tenant).await
    }

    /// [`Store::put_function`], as this tenant's.
    ///
    /// # Errors
    /// A quota is used up, or Redis does not answer or refuses.
    pub async fn put_function(
        &self,
        record: FunctionRecord,
        code: Bytes,
    ) -> Result<FunctionRecord, StoreError> {
        let record = FunctionRecord { tenant: self.tenant.clone(), ..record };
        self.store.put_function_within(record, code, self.quotas.unwrap_or_default()).await
    }

    /// Forgets a function; `false` for an unknown one. Tasks that were accepted before still run.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn remove_function(&self, id: FunctionId) -> Result<bool, StoreError> {
        self.store.remove_function_of(self.tenant, id).await
    }

    /// Functions, newest first; only those of this name where one is given. A page may hold fewer than `limit`
    /// though more follow: only so many functions are read for one.
    ///
    /// # Errors
    /// Redis does not answer or refuses.
    pub async fn functions(
        &self,
        name: Option<&str>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<Result<FunctionRecord, UnreadableRecord>>, StoreError> {
        self.store.functions_of(self.tenant, name, cursor, limit).await
    }
}
