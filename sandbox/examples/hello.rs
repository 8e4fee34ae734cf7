//! Runs a Python function from Rust: `cargo run -p belljar-sandbox --example hello`.

#![expect(clippy::print_stdout, reason = "examples speak to people")]

use std::time::Duration;

use belljar_core::task::PythonVersion;
use belljar_sandbox::image::default_dir;
use belljar_sandbox::{
    EngineConfig, Flavour, GrantedAccess, Image, Limits, Output, Sandbox, source,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // This process cannot be killed for the sake of one call: the engine ends calls at their deadline.
    let config = EngineConfig { flavour: Flavour::Epoch, ..EngineConfig::default() };
    let image = Image::load(default_dir(PythonVersion::default())?, &config)?;
    let mut sandbox = Sandbox::new(&image, &GrantedAccess::none(), Output::Inherit)?;
    let function = source::function("def double(x):\n    return 2 * x", "double");
    let arguments = source::arguments("[21]");
    let limits = Limits { time: Some(Duration::from_secs(1)), ..Limits::default() };
    let answer = sandbox.call(&function, &arguments, &limits)?;
    let value = answer.result.map_err(|raised| raised.traceback)?;
    println!("{}", source::json(&value).unwrap_or("?"));
    Ok(())
}
