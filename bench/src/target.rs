//! What belljar is to reach, and whether a run reached it.

use crate::experiment::RUNTIMES;
use crate::run::Run;
use crate::stats::{Sorted, geometric_mean, median};

/// A figure that is to be reached.
pub(crate) struct Target {
    pub(crate) group: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) bound: Bound,
    /// What would be better still.
    pub(crate) goal: Option<f64>,
    figure: fn(&Run) -> Option<f64>,
}

/// On which side of a number a figure is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    /// This or less.
    Most(f64),
    /// This or more.
    Least(f64),
}

/// Whether a target was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// And its goal, where it has one.
    Met,
    /// But not its goal.
    MetShortOfGoal,
    Missed,
    NotMeasured,
}

impl Target {
    /// What the run has measured.
    pub(crate) fn measured(&self, run: &Run) -> Option<f64> {
        (self.figure)(run)
    }

    pub(crate) fn verdict(&self, run: &Run) -> Verdict {
        match self.measured(run) {
            None => Verdict::NotMeasured,
            Some(figure) if !self.bound.holds(figure) => Verdict::Missed,
            Some(figure) => match self.goal {
                Some(goal) if !self.bound.with(goal).holds(figure) => Verdict::MetShortOfGoal,
                _ => Verdict::Met,
            },
        }
    }
}

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::Most(most) => figure <= most,
            Self::Least(least) => figure >= least,
        }
    }

    const fn with(self, number: f64) -> Self {
        match self {
            Self::Most(_) => Self::Most(number),
            Self::Least(_) => Self::Least(number),
        }
    }
}

impl Verdict {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::MetShortOfGoal => "met, short of the goal",
            Self::Missed => "**missed**",
            Self::NotMeasured => "not measured",
        }
    }
}

const fn most(
    group: &'static str,
    what: &'static str,
    bound: f64,
    unit: &'static str,
    figure: fn(&Run) -> Option<f64>,
) -> Target {
    Target { group, what, unit, bound: Bound::Most(bound), goal: None, figure }
}

const fn least(
    group: &'static str,
    what: &'static str,
    bound: f64,
    unit: &'static str,
    figure: fn(&Run) -> Option<f64>,
) -> Target {
    Target { group, what, unit, bound: Bound::Least(bound), goal: None, figure }
}

impl Target {
    const fn or_better(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }
}

const SPEED: &str = "Speed";
const SANDBOX: &str = "Sandbox";
const MODES: &str = "Pull and push";
const SERVICE: &str = "Service";

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    most(SPEED, "one no-op at a time over REST, p50", 0.35, "ms", |run| {
        latency(run, "local", "native")
    }),
    least(SPEED, "burst of no-ops, Rust client", 10_000.0, "tasks/s", |run| {
        burst(run, "local", "native")
    }),
    least(SPEED, "burst of no-ops, Python client", 8_000.0, "tasks/s", |run| {
        client(run, "batch", "native")
    }),
    most(SPEED, "processor time per no-op, Python client and all processes", 150.0, "us", |run| {
        client(run, "cost", "native")
    }),
    least(SPEED, "burst of no-ops in the sandbox, Rust client", 3_500.0, "tasks/s", |run| {
        burst(run, "local", "sandbox")
    }),
    most(SPEED, "1 MiB echoed 200 times", 1.5, "s", |run| {
        median(run.samples("stress", "mebibytes", &[("tasks", "200")]))
    }),
    most(SPEED, "processor time per task, longest queue over shortest", 1.2, "x", |run| {
        growth(run, "waiting cost")
    }),
    most(
        SPEED,
        "processor time per task, most registered functions over fewest",
        1.2,
        "x",
        |run| growth(run, "registered cost"),
    ),
    most(
        SERVICE,
        "one no-op at a time, Python client, over ProcessPoolExecutor, p50",
        5.0,
        "x",
        |run| Some(client(run, "single", "native")? / client(run, "pool single", "native")?),
    ),
    least(SERVICE, "burst of no-ops, Python client, at least", 3_000.0, "tasks/s", |run| {
        client(run, "batch", "native")
    }),
    most(SERVICE, "processor time per no-op, Python client, at most", 300.0, "us", |run| {
        client(run, "cost", "native")
    }),
    most(SERVICE, "memory of the gateway", 50.0, "MiB", |run| {
        median(run.samples("overhead", "resident memory", &[("part", "gateway")]))
    }),
    most(SERVICE, "processor time of the idle service", 1.0, "%", |run| {
        median(run.samples("overhead", "idle processor", &[]))
    }),
    most(SANDBOX, "fresh interpreter, no-op, one process, median", 0.4, "ms", |run| {
        median(run.samples("sandbox", "whole call", &[]))
    })
    .or_better(0.25),
    least(SANDBOX, "fresh interpreters in two processes", 3_500.0, "calls/s", |run| {
        median(run.samples("sandbox", "two processes", &[]))
    })
    .or_better(5_000.0),
    most(SANDBOX, "one no-op at a time over REST, p50 beyond native", 0.5, "ms", |run| {
        Some(latency(run, "local", "sandbox")? - latency(run, "local", "native")?)
    }),
    least(SANDBOX, "burst over REST, at least", 2_800.0, "tasks/s", |run| {
        burst(run, "local", "sandbox")
    }),
    most(SANDBOX, "page faults of a call", 150.0, "", |run| {
        median(run.samples("sandbox", "page faults", &[]))
    }),
    most(SANDBOX, "pure Python, geometric mean over native, by the crate", 2.0, "x", |run| {
        mean_ratio(run, "sandbox", "best time")
    })
    .or_better(1.5),
    most(SANDBOX, "pure Python, geometric mean over native, over REST", 2.0, "x", |run| {
        mean_ratio(run, "overhead", "call")
    })
    .or_better(1.5),
    most(SANDBOX, "memory of a live instance", 4.0, "MiB", |run| {
        median(run.samples("sandbox", "instance memory", &[]))
    }),
    most(SANDBOX, "load of the guest at start", 50.0, "ms", |run| {
        median(run.samples("sandbox", "load", &[]))
    }),
    most(MODES, "push, one no-op at a time, p50 beyond local", 0.15, "ms", |run| {
        Some(latency(run, "push", "native")? - latency(run, "local", "native")?)
    }),
    most(MODES, "pull, one no-op at a time, p50 beyond local", 0.2, "ms", |run| {
        Some(latency(run, "pull", "native")? - latency(run, "local", "native")?)
    }),
    least(MODES, "push, burst over local", 0.9, "x", |run| {
        Some(burst(run, "push", "native")? / burst(run, "local", "native")?)
    }),
    least(MODES, "pull, burst over local", 0.9, "x", |run| {
        Some(burst(run, "pull", "native")? / burst(run, "local", "native")?)
    }),
    most(
        MODES,
        "sleep of 0.1 s, 5 for each worker, over the ideal, worst of all",
        1.05,
        "x",
        |run| {
            let weak = run.all("scaling", "completion").filter(|series| {
                series.label("kind") == "weak" && series.label("work") == "sleep 0.1 s"
            });
            let over = weak.filter_map(|series| Some(median(&series.samples)? / 0.5));
            over.max_by(f64::total_cmp)
        },
    ),
];

/// The p50 of the larger study.
fn latency(run: &Run, mode: &str, runtime: &str) -> Option<f64> {
    let fits = run
        .all("latency", "latency")
        .filter(|series| series.label("mode") == mode && series.label("runtime") == runtime);
    let largest = fits.max_by_key(|series| series.samples.len())?;
    Sorted::new(&largest.samples).quantile(0.5)
}

fn burst(run: &Run, mode: &str, runtime: &str) -> Option<f64> {
    median(run.samples("throughput", "burst", &[("mode", mode), ("runtime", runtime)]))
}

fn client(run: &Run, metric: &str, runtime: &str) -> Option<f64> {
    median(run.samples("client", metric, &[("runtime", runtime)]))
}

/// The last figure of a metric over its first.
fn growth(run: &Run, metric: &str) -> Option<f64> {
    let mut all = run.all("stress", metric).filter_map(|series| median(&series.samples));
    let first = all.next()?;
    Some(all.last()? / first)
}

fn mean_ratio(run: &Run, experiment: &str, metric: &str) -> Option<f64> {
    let [native, sandbox] = RUNTIMES;
    let ratios: Vec<f64> = run
        .all(experiment, metric)
        .filter(|series| series.label("runtime") == sandbox)
        .filter_map(|series| {
            let labels = [("runtime", native), ("function", series.label("function"))];
            Some(median(&series.samples)? / median(run.samples(experiment, metric, &labels))?)
        })
        .collect();
    geometric_mean(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::run::{Better, Series};

    fn verdict_on(samples: Vec<f64>, what: &str) -> Verdict {
        let mut run = Run::new("quick", Machine::default());
        run.series.push(Series::new("sandbox", "whole call", "ms", Better::Less).of(samples));
        let target = TARGETS.iter().find(|target| target.what.contains(what)).unwrap();
        target.verdict(&run)
    }

    #[test]
    fn a_bound_a_goal_and_a_miss_are_told_apart() {
        let what = "fresh interpreter, no-op, one process";
        assert_eq!(verdict_on(vec![0.2, 0.2, 9.0], what), Verdict::Met);
        assert_eq!(verdict_on(vec![0.3], what), Verdict::MetShortOfGoal);
        assert_eq!(verdict_on(vec![0.5], what), Verdict::Missed);
        assert_eq!(verdict_on(vec![0.5], "load of the guest"), Verdict::NotMeasured);
    }

    #[test]
    fn growth_is_last_over_first() {
        let mut run = Run::new("full", Machine::default());
        for (waiting, cost) in [(1_000, 100.0), (10_000, 90.0), (100_000, 110.0)] {
            let series = Series::new("stress", "waiting cost", "us", Better::Less);
            run.series.push(series.at("waiting", waiting).of(vec![cost]));
        }
        assert_eq!(growth(&run, "waiting cost"), Some(1.1));
        assert_eq!(growth(&run, "registered cost"), None);
    }

    #[test]
    fn ratios_of_runtimes_are_taken_function_by_function() {
        let mut run = Run::new("full", Machine::default());
        for (function, runtime, time) in [
            ("fib", "native", 1.0),
            ("fib", "sandbox", 2.0),
            ("sorts", "sandbox", 8.0),
            ("sorts", "native", 1.0),
        ] {
            let series = Series::new("overhead", "call", "ms", Better::Less);
            let series = series.at("function", function).at("runtime", runtime);
            run.series.push(series.of(vec![time]));
        }
        let mean = mean_ratio(&run, "overhead", "call").unwrap();
        assert!((mean - 4.0).abs() < 1e-12, "{mean}");
    }
}
