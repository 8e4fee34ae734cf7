//! A bucket over a directory, for measurements: prints its URL and how it is reached as JSON, and ends with its input.

use std::io::Read as _;

use anyhow::Result;
use belljar_testkit::Bucket;
use serde_json::json;

fn main() -> Result<()> {
    let bucket = Bucket::start()?;
    let env: serde_json::Map<_, _> =
        bucket.env().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    #[expect(clippy::print_stdout, reason = "this is what is asked for")]
    {
        println!("{}", json!({"url": bucket.url(), "env": env}));
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
