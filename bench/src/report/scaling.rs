//! More workers, weak and strong.

use super::Section;
use super::figures::{curve, fits, quantile, values};
use crate::chart::{Axis, Figure, Line, Marks, Panel};
use crate::run::{Run, Series};
use crate::show::{figure, maybe, table};
use crate::stats::median;

const EXPERIMENT: &str = "scaling";

pub(super) fn section(run: &Run) -> Option<Section> {
    run.all(EXPERIMENT, "completion").next()?;
    let text = format!(
        "Native, a service anew for each number of workers: slots of one pool in local mode, processes with one \
         slot each in pull and push. Efficiency is local: in weak scaling the time of one worker over that of \
         many, in strong scaling the same over the number of workers too. Work that computes cannot gain from \
         more workers than the machine has processors ({}). Sleeping work runs in all modes at once, other work in \
         turns. Every task succeeded unless the last column says otherwise.\n\n\
         Weak: 5 tasks for each worker.\n\n{}\nStrong: the same tasks for all workers together.\n\n{}",
        run.machine.processors,
        rows(run, "weak"),
        rows(run, "strong")
    );
    let figures = vec![weak_figure(run), strong_figure(run)];
    Some(Section { title: "Scaling", text, figures })
}

/// One line for each piece of work and number of workers.
fn rows(run: &Run, kind: &str) -> String {
    let local = run.all(EXPERIMENT, "completion");
    let local = local.filter(|series| fits(series, &[("mode", "local"), ("kind", kind)]));
    let rows = local.map(|series| {
        let (work, tasks) = (series.label("work"), series.label("tasks"));
        let workers = series.label("workers");
        let of = |mode| {
            let labels = [
                ("mode", mode),
                ("kind", kind),
                ("work", work),
                ("tasks", tasks),
                ("workers", workers),
            ];
            median(run.samples(EXPERIMENT, "completion", &labels))
        };
        let over = |mode| of(mode).zip(of("local")).map(|(time, local)| time / local);
        let tasks_per_s = of("local").and_then(|time| Some(tasks.parse::<f64>().ok()? / time));
        let at = [
            ("mode", "local"),
            ("kind", kind),
            ("work", work),
            ("tasks", tasks),
            ("workers", workers),
        ];
        vec![
            work.to_owned(),
            workers.to_owned(),
            tasks.to_owned(),
            maybe(of("local")),
            maybe(over("pull")),
            maybe(over("push")),
            maybe(tasks_per_s),
            maybe(quantile(run.samples(EXPERIMENT, "latency", &at), 0.5)),
            efficiency(run, series).map_or("-".into(), |part| format!("{:.0} %", 100.0 * part)),
            success(run, series),
        ]
    });
    let head = [
        "work",
        "workers",
        "tasks",
        "local (s)",
        "pull over local",
        "push over local",
        "tasks/s",
        "p50 (ms)",
        "efficiency",
        "success",
    ];
    table(&head, rows)
}

/// The part of the ideal: for weak scaling the time of one worker, for strong the N-th part of it.
fn efficiency(run: &Run, series: &Series) -> Option<f64> {
    let alone = run.all(EXPERIMENT, "completion").find(|other| {
        let same =
            ["mode", "kind", "work"].iter().all(|label| series.label(label) == other.label(label));
        let is_same_size =
            series.label("kind") == "weak" || series.label("tasks") == other.label("tasks");
        same && is_same_size && other.label("workers") == "1"
    })?;
    let gain = median(&alone.samples)? / median(&series.samples)?;
    match series.label("kind") {
        "weak" => Some(gain),
        _ => Some(gain / series.label("workers").parse::<f64>().ok()?),
    }
}

/// The lowest part of right results among the modes.
fn success(run: &Run, series: &Series) -> String {
    let same = |other: &&Series| {
        ["kind", "work", "tasks", "workers"]
            .iter()
            .all(|label| series.label(label) == other.label(label))
    };
    let parts = run.all(EXPERIMENT, "success").filter(same).flat_map(|other| &other.samples);
    parts.copied().reduce(f64::min).map_or("-".into(), |part| format!("{} %", figure(100.0 * part)))
}

fn weak_figure(run: &Run) -> Figure {
    let works = values(run.all(EXPERIMENT, "completion"), "work");
    let panels = works.iter().map(|work| {
        let of = |mode: &str| {
            let fixed = [("mode", mode), ("kind", "weak"), ("work", work)];
            curve(run, (EXPERIMENT, "completion"), "workers", &fixed)
        };
        let mut lines = modes(run).iter().map(|mode| Line::new(mode, of(mode))).collect::<Vec<_>>();
        if let Some(seconds) = sleep(work) {
            let ideal = of("local").into_iter().map(|(workers, _)| (workers, 5.0 * seconds));
            lines.push(Line::ideal("ideal", ideal.collect()));
        }
        Panel::new(work, Axis::log("workers"), Axis::linear("completion (s)"), Marks::Lines(lines))
    });
    let title = "Weak scaling: completion of 5 tasks for each worker";
    Figure::of("scaling-weak", title, panels.collect(), 3)
}

fn strong_figure(run: &Run) -> Figure {
    let all =
        || run.all(EXPERIMENT, "completion").filter(|series| series.label("kind") == "strong");
    let most = values(all(), "tasks").pop().unwrap_or_default();
    let panels = values(all(), "work").into_iter().map(|work| {
        let of = |mode: &str| {
            let fixed = [("mode", mode), ("kind", "strong"), ("work", &work), ("tasks", &most)];
            curve(run, (EXPERIMENT, "completion"), "workers", &fixed)
        };
        let mut lines = modes(run).iter().map(|mode| Line::new(mode, of(mode))).collect::<Vec<_>>();
        if let Some(seconds) = sleep(&work) {
            let count: f64 = most.parse().unwrap_or_default();
            let ideal = of("local").into_iter();
            let ideal = ideal.map(|(workers, _)| (workers, (count / workers).ceil() * seconds));
            lines.push(Line::ideal("ideal", ideal.collect()));
        }
        Panel::new(&work, Axis::log("workers"), Axis::log("completion (s)"), Marks::Lines(lines))
    });
    let title = format!("Strong scaling: completion of {most} tasks");
    Figure::of("scaling-strong", &title, panels.collect(), 3)
}

fn modes(run: &Run) -> Vec<String> {
    values(run.all(EXPERIMENT, "completion"), "mode")
}

/// How long a task of this work sleeps: `sleep 0.1 s`.
fn sleep(work: &str) -> Option<f64> {
    work.strip_prefix("sleep ")?.strip_suffix(" s")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::run::Better;

    fn completion(kind: &str, workers: usize, seconds: f64) -> Series {
        let series = Series::new(EXPERIMENT, "completion", "s", Better::Less).at("mode", "local");
        let series = series.at("kind", kind).at("work", "cpu").at("workers", workers);
        series.at("tasks", if kind == "weak" { 5 * workers } else { 20 }).of(vec![seconds])
    }

    #[test]
    fn efficiency_is_against_one_worker() {
        let mut run = Run::new("full", Machine::default());
        let (weak, strong) = (completion("weak", 4, 2.0), completion("strong", 4, 1.0));
        run.series = vec![completion("weak", 1, 1.0), completion("strong", 1, 2.0)];
        assert_eq!(efficiency(&run, &weak), Some(0.5));
        assert_eq!(efficiency(&run, &strong), Some(0.5));
    }

    #[test]
    fn the_length_of_a_sleep_is_in_its_name() {
        assert_eq!(sleep("sleep 0.1 s"), Some(0.1));
        assert_eq!(sleep("cpu"), None);
    }
}
