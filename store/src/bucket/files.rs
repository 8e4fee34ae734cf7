//! Objects that come to files, and files that become objects: neither is in memory as a whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use belljar_core::sha256::Sha256Hash;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::{Attribute, Attributes, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};

use super::{Bucket, io_error};
use crate::blob_files::blocking;
use crate::blob_name::Reference;

/// Where files without names are, unless `TMPDIR` says so; the second where the first cannot be written to. `/tmp` is in memory on many
/// machines.
const SCRATCH: [&str; 2] = ["/var/tmp", "/tmp"];
/// So much is read, or gathered to be written, at once.
const PIECE_BYTES: usize = 1 << 20;
/// What an object says of itself: the hash of its content.
const HASH: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("sha256"));

/// A file without a name: nothing of it is left when its last user ends.
pub(super) fn new_file() -> io::Result<File> {
    let made = |directory: &Path| {
        tempfile::tempfile_in(directory).map_err(|error| {
            io::Error::new(error.kind(), format!("no file in `{}`: {error}", directory.display()))
        })
    };
    let [usual, other] = SCRATCH.map(Path::new);
    match std::env::var_os("TMPDIR") {
        Some(directory) => made(Path::new(&directory)),
        None => made(usual).or_else(|_| made(other)),
    }
}

impl Bucket {
    /// What an object has, in a file. It is whole, and has the hash that it says.
    pub(crate) async fn to_file(&self, reference: Reference) -> io::Result<Arc<File>> {
        let file = blocking(new_file).await.map(Arc::new)?;
        let got = self.asked(self.get(reference, None)).await?;
        let told = got.attributes.get(&HASH).map(|hash| hash.to_string());
        let mut content = got.into_stream();
        let (mut hasher, mut written, mut gathered, mut ahead) = (Sha256::new(), 0, Vec::new(), 0);
        loop {
            let next = content.try_next().await.map_err(io_error)?;
            let is_over = next.is_none();
            ahead += next.as_ref().map_or(0, Bytes::len);
            gathered.extend(next);
            if ahead < PIECE_BYTES && !is_over {
                continue;
            }
            let (parts, to, at) = (std::mem::take(&mut gathered), Arc::clone(&file), written);
            hasher = blocking(move || write(&to, at, &parts, hasher)).await?;
            written += std::mem::take(&mut ahead) as u64;
            if is_over {
                break;
            }
            if reference.name.is_args() {
                fail::fail_point!("args_coming");
            }
        }
        let hash = Sha256Hash(hasher.finalize().into()).to_string();
        if written != reference.bytes || told.is_some_and(|told| told != hash) {
            let why = format!(
                "what came has {written} bytes and the hash {hash}, which is not what was written"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(file)
    }

    /// Writes an object from a file.
    pub(crate) async fn write_from(&self, reference: Reference, file: Arc<File>) -> io::Result<()> {
        let (hashed, bytes) = (Arc::clone(&file), reference.bytes);
        let hash = blocking(move || hash_of(&hashed, bytes)).await?;
        let mut writer = self.writer(self.path(reference), told(Some(hash)));
        let mut written = 0;
        while written < bytes {
            let (file, at) = (Arc::clone(&file), written);
            let length = PIECE_BYTES.min(usize::try_from(bytes - written).unwrap_or(usize::MAX));
            let piece = blocking(move || {
                let mut piece = vec![0; length];
                file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
            });
            let piece = piece.await?;
            self.asked(writer.put(piece)).await?;
            written += length as u64;
        }
        fail::fail_point!("result_sending");
        self.asked(writer.finish()).await
    }

    /// Whether an object is there that somebody else has written, and has as many bytes as that says.
    pub(crate) async fn has(&self, reference: Reference) -> io::Result<bool> {
        let path = self.path(reference);
        match self.asked(self.0.objects.head(&path)).await {
            Ok(found) => Ok(found.size == reference.bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What says the hash of an object, where it is known before.
pub(super) fn told(hash: Option<Sha256Hash>) -> Attributes {
    hash.map(|hash| (HASH, hash.to_string())).into_iter().collect()
}

/// The same of one that is in memory.
pub(super) async fn hash_in_memory(bytes: &Bytes) -> io::Result<Attributes> {
    let bytes = bytes.clone();
    let hash = blocking(move || Ok(Sha256Hash(Sha256::digest(&bytes).into()))).await?;
    Ok(told(Some(hash)))
}

fn write(file: &File, mut at: u64, parts: &[Bytes], mut hasher: Sha256) -> io::Result<Sha256> {
    for part in parts {
        hasher.update(part);
        file.write_all_at(part, at)?;
        at += part.len() as u64;
    }
    Ok(hasher)
}

fn hash_of(file: &File, bytes: u64) -> io::Result<Sha256Hash> {
    let (mut hasher, mut piece, mut at) = (Sha256::new(), vec![0; PIECE_BYTES], 0);
    while at < bytes {
        let length = piece.len().min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
        file.read_exact_at(&mut piece[..length], at)?;
        hasher.update(&piece[..length]);
        at += length as u64;
    }
    Ok(Sha256Hash(hasher.finalize().into()))
}
