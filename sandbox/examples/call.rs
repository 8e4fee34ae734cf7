//! Calls `f` of a file of Python with a JSON list: `... --example call FILE [LIST] [MEBIBYTES] [DIR]`.

#![expect(clippy::print_stdout, reason = "examples speak to people")]

use std::time::Instant;

use belljar_core::task::PythonVersion;
use belljar_sandbox::image::default_dir;
use belljar_sandbox::{EngineConfig, GrantedAccess, Image, Limits, Output, Sandbox, source};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let text = std::fs::read_to_string(words.next().ok_or("which file?")?)?;
    let list = words.next().unwrap_or_else(|| "[]".into());
    let mebibytes = words.next().map_or(Ok(256), |word| word.parse::<usize>())?;
    let image = Image::load(default_dir(PythonVersion::default())?, &EngineConfig::default())?;
    let mut grants = GrantedAccess::none();
    if let Some(dir) = words.next() {
        grants = grants.python_path(dir.as_ref())?;
    }
    let mut sandbox = Sandbox::new(&image, &grants, Output::Inherit)?;
    let limits = Limits { memory_bytes: mebibytes << 20, time: None };
    let start = Instant::now();
    let answer = sandbox.call(&source::function(&text, "f"), &source::arguments(&list), &limits)?;
    match answer.result {
        Ok(value) => println!("{}", source::json(&value).unwrap_or("?")),
        Err(raised) => println!("{:?}: {}\n{}", raised.kind, raised.message, raised.traceback),
    }
    println!(
        "{:.1?}, {} MiB, {:?}",
        start.elapsed(),
        answer.peak_memory_bytes >> 20,
        answer.phases
    );
    Ok(())
}
