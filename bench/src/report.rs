//! The programs of `bench/report/`, which make reports and compare runs, in a Python with a plotting library.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use include_dir::{Dir, include_dir};

use crate::args::Options;
use crate::in_checkout;

static PROGRAMS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/report");
/// The Python that has what they import.
const PYTHON: &str = ".belljar/report/bin/python";

/// Writes the report of a run, and into documentation as well.
pub(crate) fn write(options: &Options, run: &Path, publish: Option<&Path>) -> Result<ExitCode> {
    python(options, |command| {
        command.arg("write").arg(run);
        command.args(publish.into_iter().flat_map(|docs| [Path::new("--publish"), docs]))
    })
}

/// Compares two runs; fails if the later one is worse.
pub(crate) fn compare(
    options: &Options,
    before: &Path,
    after: &Path,
    tolerance: f64,
) -> Result<ExitCode> {
    python(options, |command| {
        command.arg("compare").args([before, after]).arg(format!("--tolerance={tolerance}"))
    })
}

fn python(
    options: &Options,
    arguments: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<ExitCode> {
    let interpreter = match &options.report_python {
        Some(interpreter) => interpreter.clone(),
        None => in_checkout(PYTHON)?,
    };
    let dir = tempfile::tempdir()?;
    PROGRAMS.extract(&dir)?;
    let mut command = Command::new(&interpreter);
    let status = arguments(command.arg(dir.path())).status();
    let status = status.with_context(|| format!("cannot start `{}`", interpreter.display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
