//! Values that come to a bucket in pieces. Which gateway takes a piece is chance: so each is an object, and Redis knows which there are. They
//! are put together when the last one is there.

use belljar_core::id::BlobId;
use belljar_core::sha256::Sha256Hash;

use crate::Store;
use crate::blob_name::{BlobName, Reference};
use crate::bucket::{Bucket, NewObject, Pieces};
use crate::error::StoreError;

/// Which value has a hash.
pub(crate) type Identify<'a> = dyn Fn(Sha256Hash) -> BlobId + Sync + 'a;

impl Store {
    /// What has come of a value, in order.
    pub(crate) async fn pieces(&self, id: BlobId) -> Result<Pieces, StoreError> {
        let key = self.inner.keys.pieces(id);
        let texts: Vec<Vec<u8>> = self.ask("upload", redis::cmd("HVALS").arg(key)).await?;
        let mut found: Vec<_> = texts.iter().filter_map(|text| Reference::read(text)).collect();
        found.sort_by_key(|piece| offset(*piece));
        let mut pieces = Pieces::new();
        for piece in found {
            // What is behind a gap was written beside another piece that began there.
            let has: u64 = pieces.iter().map(|piece| piece.bytes).sum();
            if offset(piece) == has && piece.bytes > 0 {
                pieces.push(piece);
            }
        }
        Ok(pieces)
    }

    /// Keeps a piece; `None` where another was first.
    pub(crate) async fn keep_piece(
        &self,
        bucket: &Bucket,
        object: &mut NewObject,
    ) -> Result<Option<Reference>, StoreError> {
        let Some(id) = object.piece_of() else { return Ok(None) };
        let piece = bucket.finish_piece(object).await;
        let piece =
            piece.map_err(|source| StoreError::BucketAway { bucket: bucket.url(), source })?;
        let key = self.inner.keys.pieces(id);
        let mut note = redis::cmd("HSETNX");
        note.arg(&key).arg(offset(piece)).arg(piece.text());
        // The same, where an answer was lost and it was said again.
        let mut noted = redis::cmd("HGET");
        noted.arg(&key).arg(offset(piece));
        let mut expires = redis::cmd("PEXPIRE");
        expires.arg(&key).arg(bucket.part_ttl_ms());
        self.ask::<u64>("upload", &note).await?;
        let noted: Option<Vec<u8>> = self.ask("upload", &noted).await?;
        self.ask::<u64>("upload", &expires).await?;
        if noted.as_deref() == Some(piece.text().as_bytes()) {
            return Ok(Some(piece));
        }
        bucket.remove(piece).await;
        Ok(None)
    }

    /// Finishes a value, if it has the hash that it should have: else what it has.
    pub(crate) async fn put_object_together(
        &self,
        bucket: &Bucket,
        mut object: NewObject,
        (expected, id_of): (Option<Sha256Hash>, &Identify<'_>),
    ) -> Result<Result<(Reference, Sha256Hash), Sha256Hash>, StoreError> {
        let away = |source| StoreError::BucketAway { bucket: bucket.url(), source };
        let differs = |hash| expected.is_some_and(|expected| expected != hash);
        let Some(id) = object.piece_of() else {
            let hash = bucket.finish_value(&mut object).await.map_err(away)?;
            if differs(hash) {
                bucket.drop_value(&mut object).await;
                return Ok(Err(hash));
            }
            fail::fail_point!("uploaded");
            let named = bucket.name_value(&mut object, id_of(hash)).await.map_err(away)?;
            return Ok(Ok((named, hash)));
        };
        if !object.is_empty_piece() {
            self.keep_piece(bucket, &mut object).await?;
        }
        let pieces = self.pieces(id).await?;
        let (joined, hash) = bucket.join((id, expected), &pieces).await.map_err(away)?;
        if !differs(hash) {
            return Ok(Ok((joined, hash)));
        }
        bucket.remove(joined).await;
        self.drop_pieces(bucket, id).await;
        Ok(Err(hash))
    }

    /// Removes what has come of a value in pieces.
    pub(crate) async fn drop_pieces(&self, bucket: &Bucket, id: BlobId) {
        let pieces = self.pieces(id).await.unwrap_or_default();
        if pieces.is_empty() {
            return;
        }
        self.drop_blobs("upload", vec![self.inner.keys.pieces(id)]).await;
        for piece in pieces {
            bucket.remove(piece).await;
        }
    }
}

/// Where a piece begins.
const fn offset(piece: Reference) -> u64 {
    match piece.name {
        BlobName::Piece(_, offset) => offset,
        _ => u64::MAX,
    }
}
