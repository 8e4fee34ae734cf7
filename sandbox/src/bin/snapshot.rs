//! `belljar-snapshot LINKED STARTED DIR PYTHON DILL [PACKAGE...]`: the last step of the guest's build; a `PACKAGE` whose code is in a
//! module of its own is `NAME=LINKED`, several in one `NAME,NAME=LINKED`. `STARTED` is what
//! `belljar-guest-start` of `reference/` wrote.
//! `belljar-snapshot --levels WASM DIR`: compiles a guest's module for other machines, into `DIR`.

use std::path::Path;
use std::process::ExitCode;

use belljar_sandbox::{level, snapshot};

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let made = match arguments.as_slice() {
        [option, wasm, dir] if option == "--levels" => {
            level::compile(Path::new(wasm), Path::new(dir))
        }
        [linked, started, dir, python, dill, packages @ ..] => {
            let [linked, started, dir] = [linked, started, dir].map(Path::new);
            snapshot::build(linked, started, dir, [python, dill], packages)
        }
        _ => {
            return fail(
                &"usage: belljar-snapshot LINKED STARTED DIR PYTHON DILL [PACKAGE...], or --levels WASM DIR",
            );
        }
    };
    match made {
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
