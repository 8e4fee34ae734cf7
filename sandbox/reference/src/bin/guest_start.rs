//! `belljar-guest-start LINKED DIR OUT PACKAGES`: starts the guest, once bare and once for each of so many packages, and writes
//! the memories after it to `OUT`, as `0`, `1` and so on. `DIR` holds its library.

use std::path::Path;
use std::process::ExitCode;

use belljar_wasi_reference::start;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let packages = arguments.get(3).and_then(|count| count.parse().ok());
    let ([linked, dir, out, _], Some(packages)) = (&arguments[..], packages) else {
        eprintln!("usage: belljar-guest-start LINKED DIR OUT PACKAGES");
        return ExitCode::FAILURE;
    };
    match start::write(Path::new(linked), Path::new(dir), Path::new(out), packages) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("belljar-guest-start: {error:#}");
            ExitCode::FAILURE
        }
    }
}
