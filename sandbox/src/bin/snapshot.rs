//! `belljar-snapshot LINKED DIR PYTHON DILL [PACKAGE...]`: the last step of the guest's build.

use std::path::Path;
use std::process::ExitCode;

use belljar_sandbox::snapshot;

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let [linked, dir, python, dill, packages @ ..] = arguments.as_slice() else {
        return fail(&"usage: belljar-snapshot LINKED DIR PYTHON DILL [PACKAGE...]");
    };
    match snapshot::build(Path::new(linked), Path::new(dir), python, dill, packages) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            fail(&text)
        }
    }
}

#[expect(clippy::print_stderr, reason = "a tool's way to speak")]
fn fail(text: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("belljar-snapshot: {text}");
    ExitCode::FAILURE
}
