//! Runs a Python function from Rust: `cargo run -p belljar-sandbox --example hello`.

#![expect(clippy::print_stdout, reason = "examples speak to people")]

use belljar_sandbox::image::default_dir;
use belljar_sandbox::{EngineConfig, GrantedAccess, Image, Limits, Output, Sandbox, source};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let image = Image::load(default_dir("3.11"), &EngineConfig::default())?;
    let mut sandbox = Sandbox::new(&image, &GrantedAccess::none(), Output::Inherit)?;
    let function = source::function("def double(x):\n    return 2 * x", "double");
    let arguments = source::arguments("[21]");
    let answer = sandbox.call(&function, &arguments, &Limits::default())?;
    let value = answer.result.map_err(|raised| raised.traceback)?;
    println!("{}", source::json(&value).unwrap_or("?"));
    Ok(())
}
