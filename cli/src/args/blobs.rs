//! Where large values are: `--blobs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use belljar_core::shared_blobs::SharedBlobs;
use belljar_store::{BlobPlace, BucketPlace, SharedBucket};

/// A directory, or the URL of a bucket.
pub(super) fn parse(text: &str) -> std::result::Result<PathBuf, String> {
    if BucketPlace::is_url(text) && BucketPlace::new(text, []).is_none() {
        return Err("it must be `s3://BUCKET` or `s3://BUCKET/PREFIX`, of letters, digits, `-`, `_` and `.`".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// Where that is. A bucket is reached as the environment says.
pub(super) fn place(place: &Path) -> BlobPlace {
    let bucket = place.to_str().and_then(|url| {
        let env = std::env::vars_os();
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        BucketPlace::new(url, env.filter_map(text))
    });
    match bucket {
        Some(bucket) => BlobPlace::Bucket(Box::new(bucket)),
        None => BlobPlace::Directory(place.to_owned()),
    }
}

/// The same, as slots reach it.
pub(crate) fn shared(place: Option<&Path>) -> Result<Option<SharedBlobs>> {
    let Some(place) = place else { return Ok(None) };
    Ok(Some(match self::place(place) {
        BlobPlace::Directory(directory) => {
            SharedBlobs::Directory(std::path::absolute(directory).context("--blobs")?.into())
        }
        BlobPlace::Bucket(bucket) => SharedBlobs::Bucket(Arc::new(SharedBucket::open(*bucket)?)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_told_from_a_directory() {
        for (text, is_bucket) in [("s3://b/p", true), ("./s3", false), ("/var/blobs", false)] {
            let path = parse(text).expect("valid");
            assert_eq!(matches!(place(&path), BlobPlace::Bucket(_)), is_bucket, "{text}");
            let shared = shared(Some(&path)).expect("opened");
            assert_eq!(matches!(shared, Some(SharedBlobs::Bucket(_))), is_bucket, "{text}");
        }
        assert!(
            parse("s3://").is_err() && parse("s3://b//").is_ok() && parse("s3://b/a//c").is_err()
        );
    }
}
