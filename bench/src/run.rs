//! What a run of measurements has found: every sample, and where and when it was taken. Reports,
//! plots and comparisons are made from this alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::load::Load;
use crate::machine::Machine;

/// The file that holds a run.
pub(crate) const FILE: &str = "run.json";
/// The same samples for spreadsheets.
const SAMPLES_FILE: &str = "samples.csv";
/// Changes when older files can no longer be read.
const FORMAT: u32 = 1;

/// Which way a figure should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Less,
    More,
}

/// Samples of one thing in one situation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    format: u32,
    pub(crate) started: String,
    pub(crate) seconds: f64,
    /// `full` or `quick`.
    pub(crate) effort: String,
    pub(crate) machine: Machine,
    pub(crate) load: Load,
    /// Results that were compared with what they must be.
    pub(crate) checked: u64,
    /// What was wrong with those that differed.
    pub(crate) wrong: Vec<String>,
    /// What could not be measured, and why.
    pub(crate) notes: Vec<String>,
    pub(crate) series: Vec<Series>,
}

impl Series {
    pub(crate) fn new(experiment: &str, metric: &str, unit: &str, better: Better) -> Self {
        Self {
            experiment: experiment.to_owned(),
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            better,
            labels: BTreeMap::new(),
            samples: Vec::new(),
        }
    }

    /// Says in which situation.
    pub(crate) fn at(mut self, label: &str, value: impl ToString) -> Self {
        self.labels.insert(label.to_owned(), value.to_string());
        self
    }

    pub(crate) fn of(mut self, samples: Vec<f64>) -> Self {
        self.samples = samples;
        self
    }

    /// The value of a label, or nothing.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// The same thing in the same situation.
    pub(crate) fn is_counterpart(&self, other: &Self) -> bool {
        (&self.experiment, &self.metric, &self.labels)
            == (&other.experiment, &other.metric, &other.labels)
    }

    /// What and where, in one line.
    pub(crate) fn title(&self) -> String {
        let labels = self.labels.iter().map(|(name, value)| format!(", {name} {value}"));
        format!("{} {}{}", self.experiment, self.metric, labels.collect::<String>())
    }
}

impl Run {
    pub(crate) fn new(effort: &str, machine: Machine) -> Self {
        Self {
            format: FORMAT,
            started: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            seconds: 0.0,
            effort: effort.to_owned(),
            machine,
            load: Load::default(),
            checked: 0,
            wrong: Vec::new(),
            notes: Vec::new(),
            series: Vec::new(),
        }
    }

    /// All series of one metric.
    pub(crate) fn all(&self, experiment: &str, metric: &str) -> impl Iterator<Item = &Series> {
        self.series
            .iter()
            .filter(move |series| series.experiment == experiment && series.metric == metric)
    }

    /// The samples of one metric in the first situation that has these labels; empty if there is none.
    pub(crate) fn samples(
        &self,
        experiment: &str,
        metric: &str,
        labels: &[(&str, &str)],
    ) -> &[f64] {
        let fits =
            |series: &&Series| labels.iter().all(|(name, value)| series.label(name) == *value);
        match self.all(experiment, metric).find(fits) {
            Some(series) => &series.samples,
            None => &[],
        }
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
            for (index, sample) in series.samples.iter().enumerate() {
                let (index, sample) = (index.to_string(), sample.to_string());
                let Series { experiment, metric, unit, .. } = series;
                table.write_record([experiment, metric, unit, &situation, &index, &sample])?;
            }
        }
        Ok(table.flush()?)
    }

    /// Reads the run of a directory.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let text = fs::read(&path).with_context(|| {
            format!("cannot read `{}`\n  hint: `belljar bench --out DIR` makes one", path.display())
        })?;
        let run: Self = serde_json::from_slice(&text)
            .with_context(|| format!("`{}` is not a run of this version", path.display()))?;
        ensure!(run.format == FORMAT, "`{}` has format {}", path.display(), run.format);
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample_run() -> Run {
        let mut run = Run::new("quick", Machine::default());
        let series = Series::new("latency", "latency", "ms", Better::Less);
        run.series.push(series.at("mode", "pull").at("runtime", "native").of(vec![1.5, 2.5]));
        run
    }

    #[test]
    fn a_saved_run_is_read_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        sample_run().save(dir.path()).unwrap();
        let run = Run::load(dir.path()).unwrap();
        assert_eq!(run.series, sample_run().series);
        let table = fs::read_to_string(dir.path().join(SAMPLES_FILE)).unwrap();
        let rows: Vec<_> = table.lines().collect();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[2], "latency,latency,ms,mode=pull runtime=native,1,2.5");
    }

    #[test]
    fn samples_are_found_by_some_of_their_labels() {
        let run = sample_run();
        assert_eq!(run.samples("latency", "latency", &[("mode", "pull")]), [1.5, 2.5]);
        assert!(run.samples("latency", "latency", &[("mode", "push")]).is_empty());
    }

    #[test]
    fn a_file_of_another_kind_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{}").unwrap();
        let error = Run::load(dir.path()).unwrap_err();
        assert!(format!("{error:#}").contains("run.json"), "{error:#}");
    }
}
