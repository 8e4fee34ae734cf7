//! Objects that nothing needs, and their end.
//!
//! How old an object is says the bucket's clock, and of one that came in parts when its first part did. So it does not count: an object goes
//! when nothing has needed it for as long as a file may be without a key.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use belljar_core::id::TaskId;
use belljar_core::result_file::SHARDS;
use futures_util::TryStreamExt as _;
use futures_util::future::try_join_all;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use super::Bucket;
use crate::Store;
use crate::blob_files::UNFINISHED;
use crate::blob_name::{BlobName, Reference};
use crate::error::StoreError;

/// How many objects are compared with their keys at once.
const SWEPT_AT_ONCE: usize = 500;
/// How many tasks that refer to an object are looked at in one sweep: those that have ended are forgotten then.
const HOLDERS_AT_ONCE: usize = 500;

impl Store {
    /// [`Store::sweep_blobs`], of a bucket.
    pub(crate) async fn sweep_bucket(&self, bucket: &Bucket) -> Result<usize, StoreError> {
        let away = |error| StoreError::BucketAway { bucket: bucket.url(), source: error };
        let shard = bucket.0.next_shard.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut objects = Box::pin(bucket.list(shard).try_chunks(SWEPT_AT_ONCE));
        let (mut idle, mut removed) = (HashMap::new(), 0);
        let before = std::mem::take(
            &mut *bucket.0.idle[shard].lock().unwrap_or_else(PoisonError::into_inner),
        );
        while let Some(part) =
            objects.try_next().await.map_err(|error| away(super::io_error(error.1)))?
        {
            let blobs: Vec<_> = part.iter().filter_map(|(_, reference)| *reference).collect();
            let needed = self.needed_objects(&blobs).await?;
            fail::fail_point!("sweeping");
            for (path, reference) in part {
                if reference.is_some_and(|reference| needed.contains(&reference)) {
                    continue;
                }
                let since = before.get(&path).copied().unwrap_or_else(Instant::now);
                if since.elapsed() < bucket.0.grace {
                    idle.insert(path, since);
                    continue;
                }
                bucket.asked(bucket.0.objects.delete(&path)).await.map_err(away)?;
                if let Some(reference) = reference {
                    let holders = self.inner.keys.holders(&reference.object());
                    self.drop_blobs("sweep", vec![holders]).await;
                }
                removed += 1;
            }
        }
        *bucket.0.idle[shard].lock().unwrap_or_else(PoisonError::into_inner) = idle;
        Ok(removed)
    }

    /// Those of these objects that a key refers to, or that a task needs.
    async fn needed_objects(&self, found: &[Reference]) -> Result<HashSet<Reference>, StoreError> {
        if found.is_empty() {
            return Ok(HashSet::new());
        }
        let keys = &self.inner.keys;
        let named = found.iter().filter(|one| !matches!(one.name, BlobName::Piece(..)));
        let named = named.flat_map(|one| [Some(one.name.key(keys)), one.name.later_key(keys)]);
        let named: Vec<_> = named.flatten().collect();
        let mut texts: Vec<Option<Vec<u8>>> = Vec::new();
        if !named.is_empty() {
            texts = self.ask("sweep", redis::cmd("MGET").arg(named)).await?;
        }
        let pieces = found.iter().filter_map(|one| match one.name {
            BlobName::Piece(id, offset) => Some((keys.pieces(id), offset)),
            _ => None,
        });
        let pieces = pieces.map(async |(key, offset)| {
            let mut command = redis::cmd("HGET");
            command.arg(key).arg(offset);
            self.ask::<Option<Vec<u8>>>("sweep", &command).await
        });
        texts.extend(try_join_all(pieces).await?);
        let referred = texts.into_iter().flatten().filter_map(|text| Reference::read(&text));
        let mut needed: HashSet<_> = referred.collect();
        let others: Vec<_> = found.iter().filter(|one| !needed.contains(one)).collect();
        let of_tasks = self.needed_by_tasks(others.iter().map(|one| &one.name)).await?;
        let held = others.iter().map(async |one| {
            let is_needed = of_tasks.contains(&one.name) || self.is_held_by_tasks(**one).await?;
            Ok::<_, StoreError>(is_needed.then_some(**one))
        });
        let held = try_join_all(held).await?;
        needed.extend(held.into_iter().flatten());
        Ok(needed)
    }

    /// Whether a task that has not ended refers to an object.
    async fn is_held_by_tasks(&self, reference: Reference) -> Result<bool, StoreError> {
        if !matches!(reference.name, BlobName::Upload(_) | BlobName::Result(_)) {
            return Ok(false);
        }
        let key = self.inner.keys.holders(&reference.object());
        let mut command = redis::cmd("SRANDMEMBER");
        command.arg(&key).arg(HOLDERS_AT_ONCE);
        let holders: Vec<String> = self.ask("sweep", &command).await?;
        let ids: Vec<TaskId> = holders.iter().filter_map(|id| id.parse().ok()).collect();
        let held: Vec<_> = ids.iter().map(|id| BlobName::Held(*id, 0)).collect();
        if !self.needed_by_tasks(held.iter()).await?.is_empty() {
            return Ok(true);
        }
        if holders.len() < HOLDERS_AT_ONCE {
            return Ok(false);
        }
        // There may be others: the next sweep sees them.
        let mut command = redis::cmd("SREM");
        command.arg(&key).arg(holders);
        self.ask::<u64>("sweep", &command).await.map(|_| true)
    }
}

impl Bucket {
    /// The objects of a part of the bucket, with what they are of.
    fn list(
        &self,
        shard: usize,
    ) -> impl futures_util::Stream<Item = object_store::Result<(Path, Option<Reference>)>> + use<>
    {
        let shard = self.shard(u8::try_from(shard).unwrap_or(0));
        self.0.objects.list(Some(&shard)).try_filter_map(async |object| {
            let name = object.location.filename().unwrap_or_default();
            let reference = Reference::of_object(name, object.size);
            let is_ours = reference.is_some() || name.starts_with(UNFINISHED);
            Ok(is_ours.then(|| (object.location.clone(), reference)))
        })
    }

    /// Whether it answers, and is this deployment's.
    pub(crate) async fn check(&self) -> io::Result<()> {
        self.owner().await.map(drop)
    }
}
