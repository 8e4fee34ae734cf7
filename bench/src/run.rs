//! Every sample of a run, and where and when it was taken. Reports and comparisons are made from this alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::machine::{Load, Machine};

/// The file that holds a run.
const FILE: &str = "run.json";
/// The same samples for spreadsheets.
const SAMPLES_FILE: &str = "samples.csv";
/// Changes when older files can no longer be read.
const FORMAT: u32 = 2;
/// The most wrong results that a run lists.
const MAX_WRONG: usize = 100;

/// Which direction of a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Less,
    More,
}

/// Samples of one metric in one situation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Series {
    pub(crate) experiment: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
    /// The situation: `mode`, `runtime`, `workers` and the like.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) samples: Vec<f64>,
}

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    format: u32,
    pub(crate) started: String,
    pub(crate) seconds: f64,
    /// `full` or `quick`.
    pub(crate) profile: String,
    pub(crate) machine: Machine,
    pub(crate) load: Load,
    /// Number of results that were compared with the expected one.
    pub(crate) checked: u64,
    /// The wrong results.
    pub(crate) wrong: Vec<String>,
    /// What was not measured, and why.
    pub(crate) notes: Vec<String>,
    pub(crate) series: Vec<Series>,
}

/// A metric of which less is better, such as a time in `ms`.
pub(crate) fn less(experiment: &str, metric: &str, unit: &str) -> Series {
    Series {
        experiment: experiment.to_owned(),
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        better: Better::Less,
        labels: BTreeMap::new(),
        samples: Vec::new(),
    }
}

/// A rate: more is better.
pub(crate) fn rate(experiment: &str, metric: &str) -> Series {
    Series { better: Better::More, ..less(experiment, metric, "tasks/s") }
}

impl Series {
    /// Adds a label of the situation.
    pub(crate) fn at(mut self, label: &str, value: impl ToString) -> Self {
        self.labels.insert(label.to_owned(), value.to_string());
        self
    }

    pub(crate) fn of(mut self, samples: Vec<f64>) -> Self {
        self.samples = samples;
        self
    }

    /// Whether the other is of the same metric in the same situation.
    pub(crate) fn is_counterpart(&self, other: &Self) -> bool {
        (&self.experiment, &self.metric, &self.labels)
            == (&other.experiment, &other.metric, &other.labels)
    }
}

impl Run {
    pub(crate) fn new(profile: &str, machine: Machine) -> Self {
        Self {
            format: FORMAT,
            started: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            seconds: 0.0,
            profile: profile.to_owned(),
            machine,
            load: Load::default(),
            checked: 0,
            wrong: Vec::new(),
            notes: Vec::new(),
            series: Vec::new(),
        }
    }

    /// Adds samples to the series of the same situation, which is new unless it is known.
    pub(crate) fn keep(&mut self, new: Series) {
        match self.series.iter_mut().find(|known| known.is_counterpart(&new)) {
            _ if new.samples.is_empty() => {}
            Some(known) => known.samples.extend(new.samples),
            None => self.series.push(new),
        }
    }

    /// Counts checked results.
    pub(crate) fn check(&mut self, total: usize, wrong: &[String]) {
        self.checked += total as u64;
        let room = MAX_WRONG.saturating_sub(self.wrong.len());
        self.wrong.extend(wrong.iter().take(room).cloned());
    }

    /// Writes the run into a directory, as JSON and as CSV.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
        fs::write(dir.join(FILE), serde_json::to_vec(self)?)?;
        let mut table = csv::Writer::from_path(dir.join(SAMPLES_FILE))?;
        table.write_record(["experiment", "metric", "unit", "situation", "sample", "value"])?;
        for series in &self.series {
            let labels = series.labels.iter().map(|(name, value)| format!("{name}={value}"));
            let situation = labels.collect::<Vec<_>>().join(" ");
            for sample in series.samples.iter().enumerate() {
                let Series { experiment, metric, unit, .. } = series;
                table.serialize((experiment, metric, unit, &situation, sample))?;
            }
        }
        Ok(table.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_run_holds_every_sample() {
        let mut run = Run::new("quick", Machine::default());
        let series = || less("latency", "latency", "ms").at("mode", "pull").at("runtime", "native");
        run.keep(series().of(vec![1.5]));
        run.keep(series().of(vec![2.5]));
        let dir = tempfile::tempdir().unwrap();
        run.save(dir.path()).unwrap();
        let saved: serde_json::Value =
            serde_json::from_slice(&fs::read(dir.path().join(FILE)).unwrap()).unwrap();
        assert_eq!(saved["series"][0]["samples"], serde_json::json!([1.5, 2.5]));
        let table = fs::read_to_string(dir.path().join(SAMPLES_FILE)).unwrap();
        let rows: Vec<_> = table.lines().collect();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[2], "latency,latency,ms,mode=pull runtime=native,1,2.5");
    }
}
