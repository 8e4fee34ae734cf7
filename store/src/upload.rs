//! Values that clients upload once and refer to often.
//!
//! Each is a file or an object and a key: the key says whose it is, and for how long it is kept. A task that refers to a file has a
//! name of its own for it, which is removed when the task has ended: the value may be forgotten meanwhile. Those that refer to an object are
//! noted in Redis.

use std::io;

use belljar_core::id::BlobId;
use belljar_core::sha256::Sha256Hash;
use belljar_core::tenant::Tenant;
use bytes::Bytes;
use redis::Value;
use tokio::io::AsyncRead;

use crate::blob_files::Kept;
use crate::blob_name::{BlobName, Reference};
use crate::blobs::Blobs;
use crate::bucket::NewObject;
use crate::error::StoreError;
use crate::record::{OverQuota, StoreQuotas, Timestamp};
use crate::upload_files::NewFile;
use crate::usage::StoreQuota;
use crate::{Store, reply, server};

/// A value that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedValue {
    /// Names it.
    pub id: BlobId,
    /// Its length.
    pub bytes: u64,
    /// The hash of its content.
    pub sha256: Sha256Hash,
    /// Until when it is kept at least.
    pub expires_at: Timestamp,
    copy: u64,
}

impl UploadedValue {
    pub(crate) const fn reference(&self) -> Reference {
        Reference { name: BlobName::Upload(self.id), copy: self.copy, bytes: self.bytes }
    }
}

/// A value on its way into the store. What has come of one that comes in pieces stays for a while when this is dropped.
pub struct Upload(NewValue);

enum NewValue {
    File(NewFile),
    Object(Box<NewObject>),
}

impl Upload {
    /// How much of it is there.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.0 {
            NewValue::File(file) => file.bytes,
            NewValue::Object(object) => object.bytes,
        }
    }
}

/// How an upload ended.
#[derive(Debug)]
pub enum UploadEnd {
    /// It is kept.
    Kept(UploadedValue),
    /// It has another hash than was said: this. What has come of it is removed.
    Differs(Sha256Hash),
}

impl Store {
    /// Whether values can be uploaded: there is a directory or a bucket for them.
    #[must_use]
    pub fn takes_uploads(&self) -> bool {
        self.inner.blobs.is_some()
    }

    /// Whose the directory or bucket of blobs is: a worker that shares it finds the same text there.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn blob_owner(&self) -> Result<Option<String>, StoreError> {
        match &self.inner.blobs {
            None => Ok(None),
            Some(Blobs::Directory(files)) => {
                files.owner().map(Some).map_err(StoreError::UnwrittenBlob)
            }
            // It need not be there now.
            Some(Blobs::Bucket(_)) => server::deployment(self).await,
        }
    }

    /// Begins an upload that comes at once, and should have this hash, as [`crate::TenantStore::keep_upload`] is told too.
    ///
    /// # Errors
    /// There is no place for values, or it cannot be written to.
    pub async fn new_upload(&self, expected: Option<Sha256Hash>) -> Result<Upload, StoreError> {
        Ok(Upload(match self.blobs()? {
            Blobs::Directory(files) => {
                NewValue::File(files.new_file().await.map_err(StoreError::UnwrittenBlob)?)
            }
            Blobs::Bucket(bucket) => NewValue::Object(Box::new(bucket.new_object(expected))),
        }))
    }

    /// Goes on with an upload that comes in pieces, or begins it; `None` while somebody else goes on with it.
    ///
    /// # Errors
    /// There is no place for values, or it cannot be written to.
    pub async fn resume_upload(&self, id: BlobId) -> Result<Option<Upload>, StoreError> {
        match self.blobs()? {
            Blobs::Directory(files) => match files.part(id).await {
                Ok(file) => Ok(Some(Upload(NewValue::File(file)))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(StoreError::UnwrittenBlob(error)),
            },
            Blobs::Bucket(bucket) => {
                let offset = self.pieces(id).await?.iter().map(|piece| piece.bytes).sum();
                Ok(Some(Upload(NewValue::Object(Box::new(bucket.new_piece(id, offset))))))
            }
        }
    }

    /// How much has come of an upload in pieces.
    ///
    /// # Errors
    /// There is no place for values, or it cannot be read.
    pub async fn uploaded_bytes(&self, id: BlobId) -> Result<u64, StoreError> {
        match self.blobs()? {
            Blobs::Directory(files) => {
                files.part_bytes(id).await.map_err(StoreError::UnwrittenBlob)
            }
            Blobs::Bucket(_) => Ok(self.pieces(id).await?.iter().map(|piece| piece.bytes).sum()),
        }
    }

    /// Appends to an upload.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn write_upload(&self, upload: Upload, bytes: Bytes) -> Result<Upload, StoreError> {
        let blobs = self.blobs()?;
        Ok(Upload(match (upload.0, blobs) {
            (NewValue::File(file), Blobs::Directory(files)) => {
                NewValue::File(files.append(file, bytes).await.map_err(StoreError::UnwrittenBlob)?)
            }
            (NewValue::Object(mut object), Blobs::Bucket(bucket)) => {
                let appended = bucket.append(&mut object, bytes).await;
                appended.map_err(|error| blobs.unwritten(error))?;
                NewValue::Object(object)
            }
            _ => return Err(StoreError::NoBlobDirectory),
        }))
    }

    /// Leaves an upload of which more pieces follow; false where somebody else has gone on with it meanwhile.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn leave_upload(&self, upload: Upload) -> Result<bool, StoreError> {
        match (upload.0, self.blobs()?) {
            (NewValue::Object(mut object), Blobs::Bucket(bucket)) => {
                Ok(self.keep_piece(bucket, &mut object).await?.is_some())
            }
            (NewValue::File(_) | NewValue::Object(_), _) => Ok(true),
        }
    }

    /// Counts the bytes of an upload that comes in pieces for its tenant.
    pub(crate) async fn reserve_upload_of(
        &self,
        tenant: &Tenant,
        quotas: StoreQuotas,
        (id, bytes): (BlobId, u64),
    ) -> Result<Option<UploadedValue>, StoreError> {
        self.run_upload(tenant, UploadCall { bytes, quotas, ..UploadCall::of("reserve", id) }).await
    }

    /// Keeps what was uploaded, if it has the hash that it should have.
    pub(crate) async fn keep_upload_of(
        &self,
        tenant: &Tenant,
        quotas: StoreQuotas,
        upload: Upload,
        expected: Option<Sha256Hash>,
    ) -> Result<UploadEnd, StoreError> {
        let bytes = upload.bytes();
        let expected_id = expected.map(|expected| BlobId::derived(tenant.mark(), &expected.0));
        let differs = |hash| expected.is_some_and(|expected| expected != hash);
        let id_of = |hash: Sha256Hash| BlobId::derived(tenant.mark(), &hash.0);
        // The one that is kept until the key refers to it.
        let (reference, sha256, _kept) = match (upload.0, self.blobs()?) {
            (NewValue::File(file), Blobs::Directory(files)) => {
                let (file, hash) = files.hash(file).await.map_err(StoreError::UnwrittenBlob)?;
                if differs(hash) {
                    if let Some(id) = expected_id {
                        let _ = files.drop_part(id).await;
                    }
                    return Ok(UploadEnd::Differs(hash));
                }
                fail::fail_point!("uploaded");
                let kept = files.keep(file, id_of(hash)).await;
                let kept = kept.map_err(StoreError::UnwrittenBlob)?;
                (Reference::new(BlobName::Upload(id_of(hash)), bytes), hash, kept)
            }
            (NewValue::Object(object), Blobs::Bucket(bucket)) => {
                match self.put_object_together(bucket, *object, (expected, &id_of)).await? {
                    Ok((reference, hash)) => (reference, hash, Kept::nothing()),
                    Err(hash) => return Ok(UploadEnd::Differs(hash)),
                }
            }
            _ => return Err(StoreError::NoBlobDirectory),
        };
        fail::fail_point!("upload_named");
        let note = &*sha256.to_string();
        let copy = reference.copy;
        let asked =
            UploadCall { bytes, quotas, note, copy, ..UploadCall::of("keep", id_of(sha256)) };
        let found = self.run_upload(tenant, asked).await?;
        fail::fail_point!("upload_kept");
        let found = found.ok_or_else(|| reply::unexpected("upload"))?;
        if let Some(Blobs::Bucket(bucket)) = &self.inner.blobs {
            self.drop_pieces(bucket, found.id).await;
            if found.copy != copy {
                bucket.remove(reference).await;
            }
        }
        Ok(UploadEnd::Kept(found))
    }

    /// A value of a tenant.
    pub(crate) async fn uploaded_of(
        &self,
        tenant: &Tenant,
        id: BlobId,
    ) -> Result<Option<UploadedValue>, StoreError> {
        let key = self.inner.keys.upload(id);
        let record: Option<Bytes> = self.ask("upload", redis::cmd("GET").arg(key)).await?;
        let found = record.map(|record| read_record(id, &record)).transpose()?;
        Ok(found.filter(|(_, mark)| mark == tenant.mark()).map(|(value, _)| value))
    }

    /// The same, which is kept for longer then.
    pub(crate) async fn use_upload_of(
        &self,
        tenant: &Tenant,
        id: BlobId,
    ) -> Result<Option<UploadedValue>, StoreError> {
        self.run_upload(tenant, UploadCall::of("use", id)).await
    }

    /// Forgets a value of a tenant, and returns what it was. Tasks that refer to it still run.
    pub(crate) async fn drop_upload_of(
        &self,
        tenant: &Tenant,
        id: BlobId,
    ) -> Result<Option<UploadedValue>, StoreError> {
        let held = match &self.inner.blobs {
            None => return Ok(None),
            Some(Blobs::Directory(files)) => {
                files.is_held(BlobName::Upload(id)).await.unwrap_or(false)
            }
            Some(Blobs::Bucket(_)) => match self.uploaded_of(tenant, id).await? {
                None => return Ok(None),
                Some(value) => {
                    let holders = self.inner.keys.holders(&value.reference().object());
                    self.ask::<u64>("upload", redis::cmd("EXISTS").arg(holders)).await? > 0
                }
            },
        };
        let note = if held { "held" } else { "" };
        let found =
            self.run_upload(tenant, UploadCall { note, ..UploadCall::of("drop", id) }).await?;
        // Its file is found by the next sweep. Who uploads the same now relies on it, and may do so until the key is there.
        Ok(found)
    }

    /// A value from its byte `start` on. This does not ask whose it is.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn read_upload(
        &self,
        value: &UploadedValue,
        start: u64,
    ) -> Result<impl AsyncRead + Send + Unpin + 'static, StoreError> {
        let blobs = self.blobs()?;
        let opened = blobs.open_at(value.reference(), start).await;
        opened.map_err(|error| blobs.unread("an uploaded value", error))
    }

    async fn run_upload(
        &self,
        tenant: &Tenant,
        asked: UploadCall<'_>,
    ) -> Result<Option<UploadedValue>, StoreError> {
        let UploadCall { what, id, bytes, quotas, note, copy } = asked;
        let mut call = self.inner.scripts.upload.call(8, 384);
        call.arg(what).arg(id.to_string()).arg(tenant.mark()).number(self.result_ttl_ms());
        call.number(bytes);
        call.arg(quotas.stored_bytes.map_or_else(String::new, |most| most.to_string()));
        call.arg(note).arg(Reference { name: BlobName::Upload(id), copy, bytes }.text());
        let Some(answer) = call.run::<Option<Vec<Value>>>(self).await? else { return Ok(None) };
        let mut answer = answer.into_iter();
        let verdict: String = reply::next(&mut answer, "upload")?;
        match verdict.as_str() {
            "reserved" => Ok(None),
            "bytes" => {
                let (quota, limit) = (StoreQuota::StoredBytes, quotas.stored_bytes);
                let used = reply::next(&mut answer, "upload")?;
                let limit = limit.unwrap_or_default();
                Err(StoreError::OverQuota(OverQuota { quota, used, limit, frees_after: None }))
            }
            _ => {
                let record: Bytes = reply::next(&mut answer, "upload")?;
                if what == "keep" {
                    self.confirm(|| self.inner.keys.upload(id)).await?;
                }
                Ok(Some(read_record(id, &record)?.0))
            }
        }
    }

    pub(crate) fn blobs(&self) -> Result<&Blobs, StoreError> {
        self.inner.blobs.as_ref().ok_or(StoreError::NoBlobDirectory)
    }
}

/// What `upload.lua` is asked.
struct UploadCall<'a> {
    what: &'static str,
    id: BlobId,
    bytes: u64,
    quotas: StoreQuotas,
    /// The hash of what is kept; or `held`.
    note: &'a str,
    /// Which copy of it is kept.
    copy: u64,
}

impl UploadCall<'_> {
    fn of(what: &'static str, id: BlobId) -> Self {
        Self { what, id, bytes: 0, quotas: StoreQuotas::default(), note: "", copy: 0 }
    }
}

/// A record, and the tenant's mark in it.
fn read_record(id: BlobId, record: &[u8]) -> Result<(UploadedValue, String), StoreError> {
    let corrupt = || StoreError::Corrupt {
        what: format!("the uploaded value {id}"),
        why: "its record has no known form".to_owned(),
    };
    let reference = Reference::read(record).ok_or_else(corrupt)?;
    let text = std::str::from_utf8(record).map_err(|_| corrupt())?;
    let mut words = text.split(' ').skip(2);
    let (sha256, expires, mark) = (words.next(), words.next(), words.next());
    let expires = expires.and_then(|text| text.parse::<u64>().ok()).ok_or_else(corrupt)?;
    let sha256 = sha256.and_then(|text| text.parse().ok());
    let (Some(sha256), Some(mark)) = (sha256, mark.and_then(|mark| mark.strip_prefix('@'))) else {
        return Err(corrupt());
    };
    let value = UploadedValue {
        id,
        bytes: reference.bytes,
        sha256,
        expires_at: Timestamp(expires * 1_000),
        copy: reference.copy,
    };
    Ok((value, mark.to_owned()))
}
