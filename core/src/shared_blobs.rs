//! The directory or bucket of large values, as the slots of a worker reach it. What speaks to a bucket is in the store's crate, of which
//! workers know nothing.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use crate::task::TaskAttempt;

/// What a bucket answers.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// A bucket of large values.
pub trait BlobBucket: fmt::Debug + Send + Sync {
    /// Its URL.
    fn url(&self) -> &str;

    /// Whose it is: the text of its object [`OWNER`](crate::result_file::OWNER).
    fn owner(&self) -> Answer<'_, String>;

    /// What an object of so many bytes has, in a file without a name. It may be one that others read too.
    fn fetch<'a>(&'a self, object: &'a str, bytes: u64) -> Answer<'a, Arc<File>>;

    /// A new file without a name, for a result that comes.
    ///
    /// # Errors
    /// There is no room for one.
    fn new_file(&self) -> io::Result<File>;

    /// Writes the result of an attempt, so many bytes in a file. Its name follows from the attempt.
    fn send(&self, task: TaskAttempt, file: Arc<File>, bytes: u64) -> Answer<'_, ()>;
}

/// Where large values are that slots read and write themselves.
#[derive(Debug, Clone)]
pub enum SharedBlobs {
    /// In a directory of this machine.
    Directory(Arc<Path>),
    /// In a bucket.
    Bucket(Arc<dyn BlobBucket>),
}
