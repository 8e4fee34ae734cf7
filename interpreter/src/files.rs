//! The files of a call: its working directory is a folder that the worker has made for it, and removes.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use belljar_core::collection::Collection;
use belljar_core::files::{CallFile, CallFiles, MAX_NAME_BYTES, Patterns};
use belljar_core::outcome::{Failure, FailureKind};
use bytes::Bytes;

/// Puts the files into `folder`, and makes that the working directory.
pub(crate) fn give(files: &CallFiles, folder: &Path) -> Result<(), Failure> {
    let write = |file: &CallFile| {
        let path = folder.join(&file.name);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, &file.bytes)
    };
    for file in &files.inputs {
        write(file).map_err(|error| {
            let (name, bytes) = (&file.name, file.bytes.len());
            failure(format!(
                "the file `{name}` of {bytes} bytes cannot be given to the call: {error}"
            ))
        })?;
    }
    std::env::set_current_dir(folder).map_err(|error| {
        failure(format!("the call's working directory cannot be entered: {error}"))
    })
}

/// The wanted files below `folder`, of at most `max_bytes` bytes. Links are not followed.
pub(crate) fn take(
    files: &CallFiles,
    folder: &Path,
    max_bytes: u64,
) -> Result<Vec<CallFile>, Failure> {
    if files.outputs.is_empty() {
        return Ok(Vec::new());
    }
    let patterns = Patterns::read(&files.outputs).map_err(|error| failure(error.to_string()))?;
    let mut collection = Collection::new(patterns, max_bytes);
    walk(folder, &mut String::new(), &mut collection)?;
    Ok(collection.finish())
}

fn walk(folder: &Path, path: &mut String, collection: &mut Collection) -> Result<(), Failure> {
    let unreadable =
        |error: io::Error| failure(format!("the call's files cannot be listed: {error}"));
    let length = path.len();
    for entry in fs::read_dir(folder.join(&*path)).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        // Another name is none that can be kept.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if length > 0 {
            path.push('/');
        }
        path.push_str(&name);
        let kind = entry.file_type().map_err(unreadable)?;
        if kind.is_dir() && path.len() <= MAX_NAME_BYTES {
            walk(folder, path, collection)?;
        } else if kind.is_file() {
            let bytes = entry.metadata().map_err(unreadable)?.len();
            collection.offer(path, bytes, || read(&folder.join(&*path), bytes))?;
        }
        path.truncate(length);
    }
    Ok(())
}

/// No more than was counted, whatever still writes there.
fn read(path: &Path, bytes: u64) -> io::Result<Bytes> {
    let mut content = Vec::new();
    File::open(path)?.take(bytes).read_to_end(&mut content)?;
    Ok(content.into())
}

fn failure(text: String) -> Failure {
    Failure::by_platform(FailureKind::Limit, text)
}
