//! The commands of the Python client: `run`, `tasks`, `logs`, `workers`, `cancel`.
//!
//! Only Python can read a function from a file and pickle it, and the client knows the REST interface; so
//! these commands are written in Python, and `python -m belljar` has them too. A `run` without an address
//! needs a service that ends with it: `up` hosts it here.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

use crate::args::{Cli, ExecutorArgs, UpArgs};
use crate::{args, exit, install, serve, up};

/// The address of the service, as a variable and as an option.
const URL_VARIABLE: &str = "BELLJAR_URL";
const URL_OPTION: &str = "--url";

/// Runs one command and returns its exit code.
pub(crate) fn run(name: &str, words: &[OsString]) -> Result<u8> {
    if name == "run" && wants_service(words) {
        return run_privately(words);
    }
    let up = up_args(&[])?;
    let mut command = python(&up.executors)?;
    let status = command.arg(name).args(words).status().context("cannot start Python")?;
    Ok(code(status))
}

/// Whether the command needs a service and names none.
fn wants_service(words: &[OsString]) -> bool {
    let is_named = |word: &OsString| {
        let word = word.to_string_lossy();
        word == URL_OPTION || word.starts_with("--url=")
    };
    let is_question = |word: &OsString| word == "-h" || word == "--help";
    std::env::var_os(URL_VARIABLE).is_none_or(|url| url.is_empty())
        && !words.is_empty()
        && !words.iter().any(|word| is_named(word) || is_question(word))
}

/// Runs the command on a service that ends with it.
fn run_privately(words: &[OsString]) -> Result<u8> {
    let data =
        tempfile::tempdir().context("cannot make a directory for the data of the service")?;
    let mut up = up_args(&options(data.path(), words))?;
    up.log.filter.get_or_insert_with(|| "error".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the async runtime cannot start")?.block_on(async {
        let shutdown = serve::until_signal()?;
        let call = async |address: String, _: Vec<String>| -> Result<u8> {
            let mut command = tokio::process::Command::from(python(&up.executors)?);
            command.args(["run", URL_OPTION, &address]).args(words).kill_on_drop(true);
            let mut child = command.spawn().context("cannot start Python")?;
            tokio::select! {
                ended = child.wait() => Ok(code(ended?)),
                // Ctrl-C in a terminal reaches it too.
                () = shutdown.cancelled() => Ok(exit::FAILED),
            }
        };
        Ok(up::host(&up, &shutdown, call).await?.unwrap_or(exit::FAILED))
    })
}

/// The options of the service for a script: a free port, and the modules beside the script.
fn options(data: &Path, words: &[OsString]) -> Vec<OsString> {
    let mut options: Vec<OsString> = ["--listen", "127.0.0.1:0", "--data"].map(Into::into).into();
    options.push(data.into());
    if let Some(folder) = words.iter().find_map(|word| folder_of(word)) {
        options.extend(["--python-path".into(), folder.into()]);
    }
    options
}

/// The folder of a `FILE.py` or `FILE.py:function`.
fn folder_of(word: &OsStr) -> Option<PathBuf> {
    let text = word.to_str()?;
    let file = text.rsplit_once(':').map_or(text, |(file, _)| file);
    let path = Path::new(file);
    if path.extension()? != "py" || !path.is_file() {
        return None;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Some(folder.unwrap_or(Path::new(".")).to_path_buf())
}

/// The arguments of `up` with these options and the environment.
fn up_args(options: &[OsString]) -> Result<UpArgs> {
    let words = ["belljar".into(), "up".into()].into_iter().chain(options.iter().cloned());
    match Cli::read(words).context("the environment variables of `belljar up`")?.command {
        args::Command::Up(up) => Ok(*up),
        _ => unreachable!("the subcommand is `up`"),
    }
}

/// `python -m belljar`.
fn python(executors: &ExecutorArgs) -> Result<Command> {
    let mut command = Command::new(install::python(executors.site.as_deref())?);
    command.args(["-m", "belljar"]).stdin(Stdio::inherit());
    Ok(command)
}

fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(Into::into).collect()
    }

    #[test]
    fn a_service_is_started_where_none_is_named() {
        for (text, wants) in [
            ("fib.py 18", true),
            ("fib.py --url http://x", false),
            ("--url=http://x fib.py", false),
            ("--help", false),
            ("", false),
        ] {
            assert_eq!(wants_service(&words(text)), wants, "{text}");
        }
    }

    #[test]
    fn the_scripts_folder_is_on_the_path() -> Result<()> {
        let data = tempfile::tempdir()?;
        let script = data.path().join("a.py");
        std::fs::write(&script, "")?;
        let with_function = format!("{}:f", script.display());
        for word in [script.display().to_string(), with_function] {
            let options = options(Path::new("data"), &words(&format!("--sandbox {word} 3")));
            assert_eq!(options.last().map(OsString::as_os_str), Some(data.path().as_os_str()));
        }
        assert_eq!(options(Path::new("data"), &words("none.py 3")).len(), 4);
        Ok(())
    }
}
