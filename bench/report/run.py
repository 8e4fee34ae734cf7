"""A run of measurements, as `belljar-bench` saves it; statistics of samples; numbers and tables as text."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy

FORMAT = 2
# The bootstrap's draws are the same every time, so that a report can be made again from its samples.
RESAMPLES, SEED = 2_000, 0x5EED
RUNTIMES = ("native", "sandbox")


@dataclass
class Series:
    """Samples of one metric in one situation."""

    experiment: str
    metric: str
    unit: str
    better: str
    labels: dict
    samples: list

    def label(self, name):
        return self.labels.get(name, "")

    def has(self, labels):
        return all(self.label(name) == value for name, value in labels.items())

    def key(self):
        return self.experiment, self.metric, tuple(sorted(self.labels.items()))

    def title(self):
        labels = "".join(f", {name} {value}" for name, value in sorted(self.labels.items()))
        return f"{self.experiment} {self.metric}{labels}"


class Run:
    """A whole run."""

    def __init__(self, directory):
        path = Path(directory) / "run.json"
        try:
            data = json.loads(path.read_text())
        except OSError as error:
            sys.exit(f"belljar-bench: cannot read `{path}`: {error.strerror}\nhint: `belljar-bench --out DIR` makes one")
        if data.get("format") != FORMAT:
            sys.exit(f"belljar-bench: `{path}` is not a run of this version")
        series = data.pop("series")
        self.__dict__.update(data)
        self.series = [Series(**one) for one in series]

    def all(self, experiment, metric, **labels):
        """The series of a metric that have these labels."""
        return [
            series
            for series in self.series
            if series.experiment == experiment and series.metric == metric and series.has(labels)
        ]

    def samples(self, experiment, metric, **labels):
        """The samples of the first such series."""
        found = self.all(experiment, metric, **labels)
        return found[0].samples if found else []

    def median(self, experiment, metric, **labels):
        return median(self.samples(experiment, metric, **labels))


class View:
    """The series of one experiment, as cells of tables."""

    def __init__(self, run, experiment):
        self.run, self.experiment = run, experiment

    def all(self, metric, **labels):
        return self.run.all(self.experiment, metric, **labels)

    def samples(self, metric, **labels):
        return self.run.samples(self.experiment, metric, **labels)

    def median(self, metric, **labels):
        return median(self.samples(metric, **labels))

    def cell(self, metric, q=0.5, **labels):
        return figure(quantile(self.samples(metric, **labels), q))

    def range(self, metric, **labels):
        return f"{self.cell(metric, 0, **labels)} - {self.cell(metric, 1, **labels)}"

    def values(self, metric, label, **labels):
        """The values of a label, in the order in which they were measured."""
        return values(self.all(metric, **labels), label)

    def situations(self, metric, *names):
        """The values of these labels in each series of a metric."""
        return [{name: series.label(name) for name in names} for series in self.all(metric)]

    def curve(self, metric, over, **labels):
        """The medians of a metric over a label that is a number, in its order."""
        return sorted((float(one.label(over)), median(one.samples)) for one in self.all(metric, **labels))

    def interval(self, metric, **labels):
        """A median with its interval, for a bar."""
        samples = self.samples(metric, **labels)
        return median_interval(samples) if len(samples) > 2 else plain(median(samples))


def values(all_series, label):
    return list(dict.fromkeys(one.label(label) for one in all_series if one.label(label)))


def plain(value):
    """A bar without an interval."""
    return None if value is None else (value, value, value)


def quantile(samples, q):
    return float(numpy.quantile(samples, q)) if len(samples) else None


def median(samples):
    return quantile(samples, 0.5)


def geometric_mean(ratios):
    return float(numpy.exp(numpy.mean(numpy.log(ratios)))) if len(ratios) else None


def draws(samples, generator):
    return generator.choice(samples, (RESAMPLES, len(samples)))


def median_interval(samples):
    """The median of samples, with the interval that contains it with 95 % confidence."""
    drawn = numpy.median(draws(samples, numpy.random.default_rng(SEED)), axis=1)
    return (median(samples), *interval(drawn))


def ratio(above, below):
    """The ratio of two medians with its interval, or nothing."""
    return mean_ratio([(above, below)])


def mean_ratio(pairs):
    """The geometric mean of ratios of medians with its interval, or nothing."""
    if not pairs or not all(len(above) and len(below) and median(below) for above, below in pairs):
        return None
    generator = numpy.random.default_rng(SEED)
    drawn = numpy.zeros(RESAMPLES)
    for above, below in pairs:
        above, below = (numpy.median(draws(samples, generator), axis=1) for samples in (above, below))
        with numpy.errstate(divide="ignore", invalid="ignore"):
            drawn += numpy.log(above / below)
    value = geometric_mean([median(above) / median(below) for above, below in pairs])
    return (value, *interval(numpy.exp(drawn / len(pairs))))


def interval(drawn):
    return float(numpy.quantile(drawn, 0.025)), float(numpy.quantile(drawn, 0.975))


def figure(value):
    """A number with three significant digits, and with commas from a thousand on; a dash for none."""
    if value is None or not numpy.isfinite(value):
        return "-"
    size = abs(value)
    if size >= 1_000:
        return f"{value:,.0f}"
    if size == 0:
        return "0"
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.1 else 4}f}"


def count(label):
    """A whole number in a label, with commas."""
    return f"{int(label):,}" if label.isdigit() else label


def table(head, rows):
    """A table in Markdown, padded so that it reads well as text too."""
    rows = [list(map(str, row)) for row in rows]
    widths = [max(3, *(len(row[at]) for row in [head, *rows])) for at in range(len(head))]
    line = lambda cells: "|" + "".join(f" {cell:{width}} |" for cell, width in zip(cells, widths)) + "\n"
    rule = "|" + "".join(f"{'-' * (width + 2)}|" for width in widths) + "\n"
    return line(head) + rule + "".join(map(line, rows))
