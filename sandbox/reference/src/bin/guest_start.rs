//! `belljar-guest-start LINKED DIR OUT FIRST LAST`: starts the guest with the first `FIRST` packages imported, and so on up to `LAST`,
//! and writes the memories after it to `OUT`, named by these numbers. `DIR` holds its library.

use std::path::Path;
use std::process::ExitCode;

use belljar_wasi_reference::start;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|count| count.parse::<u32>().ok());
    let ([linked, dir, out, _, _], Some(first), Some(last)) =
        (&arguments[..], number(3), number(4))
    else {
        eprintln!("usage: belljar-guest-start LINKED DIR OUT FIRST LAST");
        return ExitCode::FAILURE;
    };
    match start::write(Path::new(linked), Path::new(dir), Path::new(out), first..=last) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("belljar-guest-start: {error:#}");
            ExitCode::FAILURE
        }
    }
}
