//! Objects that are written as their content comes: values that clients upload.

use std::io;

use belljar_core::id::{BlobId, TaskId};
use belljar_core::sha256::Sha256Hash;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{Attributes, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::Handle;

use super::files::told;
use super::{Bucket, new_copy};
use crate::blob_files::UNFINISHED;
use crate::blob_name::{BlobName, Reference};

/// What has come of a value in pieces, in order.
pub(crate) type Pieces = Vec<Reference>;

/// An object in the making. What is in the bucket of one that is not finished is removed, as far as that answers.
pub(super) struct Writer(Option<BufWriter>);

impl Writer {
    pub(super) const fn new(writer: BufWriter) -> Self {
        Self(Some(writer))
    }

    pub(super) async fn put(&mut self, bytes: Bytes) -> object_store::Result<()> {
        match &mut self.0 {
            Some(writer) => writer.put(bytes).await,
            None => Err(other("it is finished already".into())),
        }
    }

    /// Has all that was written in the bucket, under its name.
    pub(super) async fn finish(&mut self) -> object_store::Result<()> {
        let Some(mut writer) = self.0.take() else { return Ok(()) };
        writer.shutdown().await.map_err(|error| match error.downcast::<object_store::Error>() {
            Ok(error) => error,
            Err(error) => other(error.into()),
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let (Some(mut writer), Ok(runtime)) = (self.0.take(), Handle::try_current()) else {
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = writer.abort().await {
                tracing::debug!(%error, "parts of an object that was given up are left in the bucket");
            }
        });
    }
}

fn other(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source }
}

/// A value on its way into the bucket, or a piece of one.
pub(crate) struct NewObject {
    writer: Writer,
    place: Place,
    hasher: Sha256,
    /// How much is there, with the pieces before.
    pub(crate) bytes: u64,
}

enum Place {
    /// Of a value that comes at once: it gets its name when its hash is known.
    Unnamed(Path),
    /// Of a piece, which has its name.
    Piece(BlobId, Reference),
}

impl NewObject {
    /// Of which value it is a piece, if it is one.
    pub(crate) const fn piece_of(&self) -> Option<BlobId> {
        match self.place {
            Place::Unnamed(_) => None,
            Place::Piece(id, _) => Some(id),
        }
    }

    /// Whether it is a piece of which nothing has come.
    pub(crate) const fn is_empty_piece(&self) -> bool {
        match self.place {
            Place::Piece(_, Reference { name: BlobName::Piece(_, offset), .. }) => {
                self.bytes == offset
            }
            _ => false,
        }
    }
}

impl Bucket {
    /// An object for a value that comes at once.
    pub(crate) fn new_object(&self, expected: Option<Sha256Hash>) -> NewObject {
        let id = TaskId::random();
        let [.., last] = *id.as_bytes();
        let path = self.shard(last).join(format!("{UNFINISHED}{id}"));
        let writer = self.writer(path.clone(), told(expected));
        NewObject { writer, place: Place::Unnamed(path), hasher: Sha256::new(), bytes: 0 }
    }

    /// An object for what follows the first `offset` bytes of a value in pieces.
    pub(crate) fn new_piece(&self, id: BlobId, offset: u64) -> NewObject {
        let reference = new_copy(BlobName::Piece(id, offset), 0);
        let writer = self.writer(self.path(reference), Attributes::new());
        let place = Place::Piece(id, reference);
        NewObject { writer, place, hasher: Sha256::new(), bytes: offset }
    }

    /// Appends to a new object.
    pub(crate) async fn append(&self, object: &mut NewObject, bytes: Bytes) -> io::Result<()> {
        object.hasher.update(&bytes);
        object.bytes += bytes.len() as u64;
        self.asked(object.writer.put(bytes)).await
    }

    /// Finishes a piece, and says how it is named.
    pub(crate) async fn finish_piece(&self, object: &mut NewObject) -> io::Result<Reference> {
        let Place::Piece(_, Reference { name: BlobName::Piece(id, offset), copy, .. }) =
            object.place
        else {
            return Err(io::Error::other("it is no piece"));
        };
        self.asked(object.writer.finish()).await?;
        let bytes = object.bytes - offset;
        Ok(Reference { name: BlobName::Piece(id, offset), copy, bytes })
    }

    /// Finishes a value that came at once, and says which hash it has.
    pub(crate) async fn finish_value(&self, object: &mut NewObject) -> io::Result<Sha256Hash> {
        self.asked(object.writer.finish()).await?;
        let hasher = std::mem::take(&mut object.hasher);
        Ok(Sha256Hash(hasher.finalize().into()))
    }

    /// Gives a finished value a name.
    pub(crate) async fn name_value(
        &self,
        object: &mut NewObject,
        id: BlobId,
    ) -> io::Result<Reference> {
        let Place::Unnamed(path) = &object.place else {
            return Err(io::Error::other("it is a piece"));
        };
        let reference = new_copy(BlobName::Upload(id), object.bytes);
        self.asked(self.0.objects.copy(path, &self.path(reference))).await?;
        self.drop_value(object).await;
        Ok(reference)
    }

    /// Removes a finished value that has no name.
    pub(crate) async fn drop_value(&self, object: &mut NewObject) {
        if let Place::Unnamed(path) = &object.place {
            let _ = self.asked(self.0.objects.delete(path)).await;
        }
    }

    /// Puts a value together from its pieces, and says which hash it has.
    pub(crate) async fn join(
        &self,
        (id, expected): (BlobId, Option<Sha256Hash>),
        pieces: &Pieces,
    ) -> io::Result<(Reference, Sha256Hash)> {
        let bytes = pieces.iter().map(|piece| piece.bytes).sum();
        let reference = new_copy(BlobName::Upload(id), bytes);
        let mut writer = self.writer(self.path(reference), told(expected));
        let mut hasher = Sha256::new();
        self.asked(async {
            for piece in pieces {
                let mut content = self.get(*piece, None).await?.into_stream();
                while let Some(part) = content.try_next().await? {
                    hasher.update(&part);
                    writer.put(part).await?;
                }
            }
            writer.finish().await
        })
        .await?;
        Ok((reference, Sha256Hash(hasher.finalize().into())))
    }
}
