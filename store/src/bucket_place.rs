//! Which bucket large values are in.

use std::fmt;

/// What the URL of a bucket begins with.
const SCHEME: &str = "s3://";

/// A bucket, and how it is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct BucketPlace {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    /// The names and values of `AWS_*`.
    pub(crate) options: Vec<(String, String)>,
}

impl BucketPlace {
    /// Whether a place is meant to be a bucket, and no directory.
    #[must_use]
    pub fn is_url(place: &str) -> bool {
        place.starts_with(SCHEME)
    }

    /// The bucket of a URL `s3://BUCKET/PREFIX`, reached as these options say, which have the names of the usual environment variables
    /// (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, ...). `None`: it is no such URL.
    #[must_use]
    pub fn new(url: &str, options: impl IntoIterator<Item = (String, String)>) -> Option<Self> {
        let (bucket, prefix) = url
            .strip_prefix(SCHEME)?
            .split_once('/')
            .unwrap_or_else(|| (url.strip_prefix(SCHEME).unwrap_or_default(), ""));
        let prefix = prefix.trim_matches('/');
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let fits = |text: &str| {
            text.split('/').all(|part| {
                !part.is_empty() && part.chars().all(is_name) && part.chars().any(|c| c != '.')
            })
        };
        if !fits(bucket) || bucket.contains('/') || !(prefix.is_empty() || fits(prefix)) {
            return None;
        }
        let options = options.into_iter().filter(|(name, _)| name.starts_with("AWS_")).collect();
        Some(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned(), options })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        let Self { bucket, prefix, .. } = self;
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("{SCHEME}{bucket}{slash}{prefix}")
    }
}

impl fmt::Debug for BucketPlace {
    /// Without the options, among which are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BucketPlace").field(&self.url()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_bucket_and_what_is_below() {
        for (url, back) in [
            ("s3://b", "s3://b"),
            ("s3://b/", "s3://b"),
            ("s3://my-b.1/a/b_c/", "s3://my-b.1/a/b_c"),
        ] {
            assert_eq!(BucketPlace::new(url, []).map(|place| place.url()), Some(back.to_owned()));
        }
        for url in
            ["", "s3:/b", "s3://", "s3:///a", "s3://b/../c", "s3://b/a//c", "s3://b c", "/s3"]
        {
            assert_eq!(BucketPlace::new(url, []), None, "{url}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let options = [("AWS_SECRET_ACCESS_KEY".to_owned(), "hush".to_owned())];
        let place = BucketPlace::new("s3://b/p", options).expect("a bucket");
        assert_eq!(format!("{place:?}"), "BucketPlace(\"s3://b/p\")");
    }
}
