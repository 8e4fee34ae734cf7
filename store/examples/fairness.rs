//! What tenants get that submit very different numbers of tasks: Jain's index of their shares, beside what it would be if
//! tasks ran in the order of their submission. `cargo run -p belljar-store --example fairness [TENANTS...]`.
#![expect(clippy::print_stdout, reason = "it is a report")]

#[path = "../tests/store/skewed.rs"]
mod skewed;

use std::error::Error;

use belljar_store::{Store, StoreConfig};
use belljar_testkit::Redis;
use skewed::Shares;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let numbers = std::env::args().skip(1).map(|text| text.parse());
    let numbers: Vec<usize> = numbers.collect::<Result<_, _>>()?;
    let numbers = if numbers.is_empty() { vec![2, 10, 100, 1000] } else { numbers };
    println!(
        "{:>8} {:>12} {:>12} {:>22}",
        "tenants", "Jain's index", "first come", "least and most tasks"
    );
    for tenants in numbers {
        let redis = Redis::start()?;
        let store = Store::connect(StoreConfig::new(redis.url())).await?;
        let Shares { jain, first_come, range } = skewed::measure(&store, tenants).await?;
        println!("{tenants:>8} {jain:>12.4} {first_come:>12.4} {:>22}", format!("{range:?}"));
    }
    Ok(())
}
