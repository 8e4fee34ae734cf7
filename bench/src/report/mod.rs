//! The report of a run: targets, tables and pictures, as Markdown and as one HTML file.
//!
//! # Layout
//!
//! * [`text`]: what surrounds the figures: machine, load, method, how to read it. * [`html`]: Markdown as
//!   a page. * The others: a section for each experiment.

mod alone;
mod figures;
mod html;
mod latency;
mod overhead;
mod peers;
mod sandbox;
mod scaling;
mod stress;
mod text;
mod throughput;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::chart::{self, Figure};
use crate::run::Run;

/// The directory of the pictures, beside the report.
const PLOTS: &str = "plots";
/// The same beside `performance.md`.
const PUBLISHED_PLOTS: &str = "performance";

/// What one experiment has found.
struct Section {
    title: &'static str,
    /// Markdown.
    text: String,
    figures: Vec<Figure>,
}

/// Writes `report.md`, `report.html` and the pictures into the directory of a run.
pub(crate) fn write(run: &Run, dir: &Path) -> Result<()> {
    let sections = sections(run);
    draw(&sections, &dir.join(PLOTS))?;
    let markdown = markdown(run, &sections, PLOTS);
    let page = html::page(&markdown, dir)?;
    save(&dir.join("report.md"), &markdown)?;
    save(&dir.join("report.html"), &page)
}

/// Writes `performance.md` into a directory of documentation, its pictures beside it.
pub(crate) fn publish(run: &Run, docs: &Path) -> Result<()> {
    let sections = sections(run);
    let plots = docs.join(PUBLISHED_PLOTS);
    draw(&sections, &plots)?;
    // Documentation shows vectors only.
    for section in &sections {
        for figure in &section.figures {
            let _ = fs::remove_file(plots.join(format!("{}.png", figure.name)));
        }
    }
    save(&docs.join("performance.md"), &markdown(run, &sections, PUBLISHED_PLOTS))
}

/// The targets and what they are worth, for a terminal.
pub(crate) fn summary(run: &Run) -> String {
    format!("{}\n{}", text::targets(run), text::findings(run))
}

fn sections(run: &Run) -> Vec<Section> {
    let all = [
        latency::section(run),
        alone::section(run),
        throughput::section(run),
        overhead::section(run),
        sandbox::section(run),
        scaling::section(run),
        stress::section(run),
        peers::section(run),
    ];
    all.into_iter().flatten().collect()
}

fn draw(sections: &[Section], dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
    sections
        .iter()
        .flat_map(|section| &section.figures)
        .try_for_each(|figure| chart::write(figure, dir))
}

fn markdown(run: &Run, sections: &[Section], plots: &str) -> String {
    let mut all = text::head(run);
    for section in sections {
        all += &format!("\n## {}\n\n{}", section.title, section.text);
        for Figure { name, title, panels, .. } in &section.figures {
            if !panels.is_empty() {
                all += &format!("\n![{title}]({plots}/{name}.svg)\n");
            }
        }
    }
    all
}

fn save(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::run::{Better, Series};

    fn a_run() -> Run {
        let mut run = Run::new("quick", Machine::default());
        for (mode, middle) in [("local", 1.0), ("pull", 1.2), ("push", 1.1)] {
            let series = Series::new("latency", "latency", "ms", Better::Less);
            let series = series.at("mode", mode).at("runtime", "native").at("study", 100);
            let samples = (0..100).map(|index| middle + f64::from(index) / 128.0).collect();
            run.series.push(series.of(samples));
        }
        run
    }

    #[test]
    fn a_report_holds_its_figures_tables_and_pictures() {
        let dir = tempfile::tempdir().unwrap();
        write(&a_run(), dir.path()).unwrap();
        let markdown = fs::read_to_string(dir.path().join("report.md")).unwrap();
        let page = fs::read_to_string(dir.path().join("report.html")).unwrap();
        for text in ["pull", "1.59", "Not measured", "How to read"] {
            assert!(markdown.contains(text) && page.contains(text), "{text}");
        }
        assert!(markdown.contains("(plots/latency.svg)"));
        assert!(page.contains("<svg") && !page.contains("src=\"plots"), "pictures are within");
        assert!(dir.path().join("plots/latency.png").is_file());
    }

    #[test]
    fn what_was_not_measured_has_no_section() {
        let dir = tempfile::tempdir().unwrap();
        write(&a_run(), dir.path()).unwrap();
        let markdown = fs::read_to_string(dir.path().join("report.md")).unwrap();
        assert!(!markdown.contains("## Scaling"), "{markdown}");
    }

    #[test]
    fn documentation_gets_vectors_beside_its_text() {
        let docs = tempfile::tempdir().unwrap();
        publish(&a_run(), docs.path()).unwrap();
        let text = fs::read_to_string(docs.path().join("performance.md")).unwrap();
        assert!(text.contains("(performance/latency.svg)"), "{text}");
        assert!(docs.path().join("performance/latency.svg").is_file());
        assert!(!docs.path().join("performance/latency.png").exists());
    }
}
