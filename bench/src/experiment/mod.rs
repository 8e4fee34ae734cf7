//! The measurements, one file for each experiment. Experiments keep samples and judge nothing: that is for
//! [`crate::target`] and [`crate::report`].

mod latency;
mod many;
mod overhead;
mod scaling;
mod scripts;
mod single;
mod stress;
mod throughput;

use anyhow::Result;

use crate::args::Experiment;
use crate::context::Context;

/// The runtimes, as the interface names them.
pub(crate) const RUNTIMES: [&str; 2] = ["native", "sandbox"];

/// Runs one experiment.
pub(crate) async fn run(experiment: Experiment, cx: &mut Context) -> Result<()> {
    match experiment {
        Experiment::Latency => latency::run(cx).await,
        Experiment::Scaling => scaling::run(cx).await,
        Experiment::Throughput => throughput::run(cx).await,
        Experiment::Stress => {
            stress::run(cx).await?;
            many::run(cx).await
        }
        Experiment::Overhead => overhead::run(cx).await,
        Experiment::Sandbox => scripts::sandbox(cx),
        Experiment::Client => scripts::client(cx),
        Experiment::Peers => scripts::peers(cx),
    }
}
