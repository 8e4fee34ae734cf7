//! A bucket over a directory: prints its URL and how it is reached as JSON. `belljar-bucket` has a directory of its own, and ends with its input;
//! `belljar-bucket DIRECTORY ADDRESS` is there until it is killed, and may be started again.

use std::io::Read as _;

use anyhow::Result;
use belljar_testkit::Bucket;
use serde_json::json;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let place = args.next().zip(args.next());
    let bucket = match &place {
        Some((directory, address)) => Bucket::start_at(directory.into(), address)?,
        None => Bucket::start()?,
    };
    let env: serde_json::Map<_, _> =
        bucket.env().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    #[expect(clippy::print_stdout, reason = "this is what is asked for")]
    {
        println!("{}", json!({"url": bucket.url(), "env": env}));
    }
    while place.is_some() {
        std::thread::park();
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
