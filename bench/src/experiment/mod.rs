//! The measurements, a file for each experiment. Each keeps its samples in the lab's run and judges
//! nothing: what figures mean is said by [`crate::target`] and [`crate::report`].

mod alone;
mod client;
mod latency;
mod load;
mod overhead;
mod payloads;
mod peers;
mod registry;
mod sandbox;
mod scaling;
mod throughput;

use anyhow::Result;

use crate::config::{Experiment, Measure};
use crate::lab::Lab;

/// The runtimes, as the interface names them.
pub(crate) const RUNTIMES: [&str; 2] = ["native", "sandbox"];

/// Runs one experiment.
pub(crate) async fn run(experiment: Experiment, lab: &mut Lab, measure: &Measure) -> Result<()> {
    match experiment {
        Experiment::Latency => latency::run(lab).await,
        Experiment::Scaling => scaling::run(lab).await,
        Experiment::Throughput => throughput::run(lab).await,
        Experiment::Stress => {
            load::run(lab).await?;
            payloads::run(lab).await?;
            registry::run(lab).await
        }
        Experiment::Overhead => overhead::run(lab).await,
        Experiment::Sandbox => sandbox::run(lab, &measure.belljar),
        Experiment::Client => client::run(lab, &measure.belljar),
        Experiment::Peers => peers::run(lab, &measure.peers),
    }
}
