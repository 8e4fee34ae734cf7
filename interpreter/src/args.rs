//! The command line. Only belljar's worker and doctor write it, so there is no help text and no framework.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the worker asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Args {
    /// The site-packages directory that holds dill and cloudpickle, and what functions may import.
    pub(crate) site: Option<PathBuf>,
    /// Directories to import from first, for functions sent by reference.
    pub(crate) python_path: Vec<PathBuf>,
    /// Not to serve, but to say what the interpreter is.
    pub(crate) describe: bool,
}

/// A command line that is not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unexpected argument `{0}`: usage is belljar-python [--describe] [--site DIR] [--python-path DIR]..."
)]
pub(crate) struct Unexpected(String);

impl Args {
    /// Reads what follows the program's name.
    pub(crate) fn parse(given: impl IntoIterator<Item = OsString>) -> Result<Self, Unexpected> {
        let mut args = Self::default();
        let mut given = given.into_iter();
        while let Some(option) = given.next() {
            let name = option.to_string_lossy().into_owned();
            if name == "--describe" {
                args.describe = true;
                continue;
            }
            let value = given.next().map(PathBuf::from).ok_or_else(|| Unexpected(name.clone()))?;
            match name.as_str() {
                "--site" => args.site = Some(value),
                "--python-path" => args.python_path.push(value),
                _ => return Err(Unexpected(name)),
            }
        }
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_repeat() {
        let given = ["--python-path", "a", "--site", "s", "--python-path", "b"].map(OsString::from);
        let args = Args::parse(given).expect("valid");
        assert_eq!(args.python_path, ["a", "b"].map(PathBuf::from));
        assert_eq!(args.site, Some("s".into()));
        assert!(!args.describe);
        let given = ["--describe", "--site", "s"].map(OsString::from);
        assert!(Args::parse(given).is_ok_and(|args| args.describe));
        assert!(Args::parse(["--site"].map(OsString::from)).is_err());
        assert!(Args::parse(["--other", "x"].map(OsString::from)).is_err());
    }
}
