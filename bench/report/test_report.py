"""The report of small runs: python -m unittest discover bench/report"""

import json
import tempfile
import unittest
from pathlib import Path

import numpy

import costs
import report
from compare import compare
from plots import Figure, bars, lines, stacks
from run import FORMAT, Run, View, count, figure, geometric_mean, mean_ratio, median_interval, quantile, ratio, table
from targets import TARGETS, growth, ratio_of_runtimes


def series(experiment, metric, samples, better="less", unit="ms", **labels):
    return {
        "experiment": experiment,
        "metric": metric,
        "unit": unit,
        "better": better,
        "labels": {name: str(value) for name, value in labels.items()},
        "samples": list(samples),
    }


def write_run(directory, *all_series, yardstick=10.0):
    machine = {"processor": "", "processors": 2, "memory_mib": 1, "system": "", "kernel": "", "versions": {}, "yardstick_ms": yardstick}
    data = {"format": FORMAT, "started": "now", "seconds": 1.0, "profile": "quick", "machine": machine}
    data |= {"load": {"averages": [], "ours": 0.1, "others": 0.0, "stolen": 0.0}, "checked": 3, "wrong": [], "notes": []}
    (Path(directory) / "run.json").write_text(json.dumps(data | {"series": all_series}))


def a_run(*all_series, yardstick=10.0):
    with tempfile.TemporaryDirectory() as directory:
        write_run(directory, *all_series, yardstick=yardstick)
        return Run(directory)


def normal(mean, spread, size, seed):
    return list(numpy.random.default_rng(seed).normal(mean, spread, size))


class Statistics(unittest.TestCase):
    def test_quantiles_lie_between_samples(self):
        samples = [4.0, 1.0, 3.0, 2.0]
        self.assertEqual([quantile(samples, q) for q in (0, 0.5, 1)], [1.0, 2.5, 4.0])
        self.assertEqual(quantile([7.0], 0.99), 7.0)
        self.assertIsNone(quantile([], 0.5))
        self.assertAlmostEqual(quantile(range(1, 101), 0.99), 99.01)

    def test_the_geometric_mean_of_opposite_ratios_is_one(self):
        self.assertAlmostEqual(geometric_mean([4.0, 0.25]), 1)
        self.assertIsNone(geometric_mean([]))

    def test_intervals_contain_the_truth_about_as_often_as_they_say(self):
        intervals = [median_interval(normal(10, 1, 40, seed)) for seed in range(200)]
        held = sum(low <= 10 <= high for _, low, high in intervals)
        self.assertTrue(180 <= held <= 200, held)

    def test_intervals_narrow_with_more_samples(self):
        width = lambda size: (lambda at: at[2] - at[1])(median_interval(normal(10, 1, size, 1)))
        self.assertLess(width(1_000), width(50) / 2)

    def test_a_ratio_is_the_ratio_of_medians(self):
        _, low, high = ratio(normal(30, 1, 100, 1), normal(20, 1, 100, 2))
        self.assertTrue(low < 1.5 < high and high - low < 0.1, (low, high))
        self.assertIsNone(ratio([], [1.0]))

    def test_a_mean_of_ratios_weighs_each_pair_alike(self):
        pairs = [(normal(8, 0.1, 30, 1), normal(2, 0.1, 30, 2)), (normal(100, 0.1, 30, 3), normal(100, 0.1, 30, 4))]
        value, low, high = mean_ratio(pairs)
        self.assertAlmostEqual(value, 2, delta=0.1)
        self.assertTrue(low <= value <= high)

    def test_the_same_samples_give_the_same_interval(self):
        samples = normal(1, 0.2, 30, 9)
        self.assertEqual(median_interval(samples), median_interval(samples))


class Texts(unittest.TestCase):
    def test_three_digits_are_significant(self):
        values = [0.01234, 0.1234, 1.234, 12.34, 123.4, 1_234.5, 1_234_567.0, 0.0, -2_000.0]
        shown = ["0.0123", "0.123", "1.23", "12.3", "123", "1,234", "1,234,567", "0", "-2,000"]
        self.assertEqual([figure(value) for value in values], shown)
        self.assertEqual(figure(None), "-")
        self.assertEqual([count(label) for label in ("1", "10000", "cpu")], ["1", "10,000", "cpu"])

    def test_columns_are_as_wide_as_their_widest_cell(self):
        text = table(["mode", "p50"], [["local", "1"]])
        self.assertEqual(text, "| mode  | p50 |\n|-------|-----|\n| local | 1   |\n")


class Targets(unittest.TestCase):
    def verdict(self, samples, what):
        run = a_run(series("sandbox", "whole call", samples))
        return next(target for target in TARGETS if what in target.what).verdict(run)

    def test_bound_goal_and_miss_are_distinct(self):
        what = "fresh interpreter, no-op, one process"
        self.assertEqual(self.verdict([0.2, 0.2, 9.0], what), "met")
        self.assertEqual(self.verdict([0.3], what), "met, short of the goal")
        self.assertEqual(self.verdict([0.5], what), "**missed**")
        self.assertEqual(self.verdict([0.5], "load of the guest"), "not measured")

    def test_growth_is_last_over_first(self):
        figures = [(1_000, 100.0), (10_000, 90.0), (100_000, 110.0)]
        run = a_run(*(series("stress", "waiting cost", [cost], waiting=waiting) for waiting, cost in figures))
        self.assertEqual(growth(run, "waiting cost"), 1.1)
        self.assertIsNone(growth(run, "registered cost"))

    def test_the_mean_ratio_is_over_functions(self):
        times = [("fib", "native", 1.0), ("fib", "sandbox", 2.0), ("sorts", "sandbox", 8.0), ("sorts", "native", 1.0)]
        run = a_run(*(series("overhead", "call", [time], function=function, runtime=runtime) for function, runtime, time in times))
        self.assertAlmostEqual(ratio_of_runtimes(run, "overhead", "call"), 4)


def around(middle, size):
    return [middle * (0.9 + 0.2 * index / size) for index in range(size)]


class Comparison(unittest.TestCase):
    def worse(self, better, before, after):
        before, after = (a_run(series("latency", "latency", samples, better, mode="pull")) for samples in (before, after))
        return compare(before, after, 0.05)[1]

    def test_a_run_is_no_worse_than_itself(self):
        run = a_run(series("latency", "latency", around(1, 100)))
        text, worse = compare(run, run, 0.05)
        self.assertEqual(worse, 0)
        self.assertIn("Nothing is worse", text)

    def test_slower_is_worse_and_faster_is_not(self):
        slow, fast = around(1.2, 100), around(1, 100)
        self.assertEqual([self.worse("less", fast, slow), self.worse("less", slow, fast)], [1, 0])
        self.assertEqual([self.worse("more", fast, slow), self.worse("more", slow, fast)], [0, 1])

    def test_a_change_within_the_tolerance_does_not_count(self):
        self.assertEqual(self.worse("less", around(1, 1_000), around(1.04, 1_000)), 0)

    def test_few_samples_that_overlap_prove_nothing(self):
        self.assertEqual(self.worse("less", [1.0, 1.6], [1.5, 2.0]), 0)
        self.assertEqual(self.worse("less", [1.0, 1.1], [1.5, 2.0]), 1)

    def test_a_regression_is_shown_with_its_name_and_figures(self):
        before, after = (a_run(series("latency", "latency", around(middle, 100), mode="pull")) for middle in (1, 2))
        text, _ = compare(before, after, 0.05)
        self.assertIn("latency latency, mode pull", text)
        self.assertIn("2.00", text)

    def test_figures_of_one_run_only_are_left_out(self):
        before = a_run(series("latency", "latency", around(1, 100), mode="pull"))
        after = a_run(series("latency", "latency", around(9, 100), mode="push"))
        text, worse = compare(before, after, 0.05)
        self.assertEqual(worse, 0)
        self.assertTrue(text.startswith("0 figures"), text)

    def test_a_slower_machine_is_mentioned(self):
        same = series("latency", "latency", around(1, 100))
        text, _ = compare(a_run(same), a_run(same, yardstick=20.0), 0.05)
        self.assertIn("not equally fast", text)


class Report(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = Path(self.directory.name)
        middles = [("local", 1.0), ("pull", 1.2), ("push", 1.1)]
        samples = lambda middle: (middle + index / 128 for index in range(100))
        write_run(self.path, *(
            series("latency", "latency", samples(middle), mode=mode, runtime="native", study=100) for mode, middle in middles
        ))

    def test_it_has_figures_tables_and_plots(self):
        report.write(Run(self.path), self.path)
        text, page = ((self.path / name).read_text() for name in ("report.md", "report.html"))
        for part in ("pull", "1.59", "Not measured", "How to read"):
            self.assertIn(part, text)
            self.assertIn(part, page)
        self.assertIn("(plots/latency.svg)", text)
        self.assertIn("<td>", page)
        self.assertTrue("<svg" in page and "<?xml" not in page and 'src="plots' not in page, "plots are within")
        self.assertTrue((self.path / "plots/latency.png").read_bytes().startswith(b"\x89PNG"))

    def test_an_experiment_that_was_not_measured_has_no_section(self):
        report.write(Run(self.path), self.path)
        self.assertNotIn("## Scaling", (self.path / "report.md").read_text())

    def test_documentation_gets_vectors_beside_its_text(self):
        report.publish(Run(self.path), self.path)
        self.assertIn("(performance/latency.svg)", (self.path / "performance.md").read_text())
        self.assertTrue((self.path / "performance/latency.svg").is_file())
        self.assertFalse((self.path / "performance/latency.png").exists())

    def test_every_kind_of_panel_becomes_a_vector_and_a_picture(self):
        bar = lambda value: (value, value * 0.9, value * 1.1)
        groups, sets = ["native", "sandbox"], [("local", [bar(1.0), bar(2.0)]), ("push", [bar(1.5), None])]
        parts = [(name, [one and one[0] for one in row]) for name, row in sets]
        rows = [("measured", [(1.0, 10.0), (10.0, 200.0)]), ("ideal", [(1.0, 8.0), (10.0, 80.0)])]
        panels = [bars("both", "ms", groups, sets, rule=1.8), stacks("parts", "ms", groups, parts)]
        panels.append(lines("rate", "workers", "tasks/s", rows, y_log=True))
        Figure("all", "All kinds", 2, panels).write(self.path)
        vector = (self.path / "all.svg").read_text()
        for part in ("All kinds", "sandbox", "push", "ideal", "workers"):
            self.assertIn(part, vector)
        self.assertGreater((self.path / "all.png").stat().st_size, 10_000)

    def test_a_figure_without_samples_leaves_no_files(self):
        before = len(list(self.path.iterdir()))
        Figure("empty", "Empty", 1, [lines("", "", "", [("none", [])])]).write(self.path)
        self.assertEqual(len(list(self.path.iterdir())), before)


class Scaling(unittest.TestCase):
    def completion(self, kind, workers, seconds):
        tasks = 5 * workers if kind == "weak" else 20
        return series("scaling", "completion", [seconds], mode="local", kind=kind, work="cpu", workers=workers, tasks=tasks)

    def test_efficiency_is_relative_to_one_worker(self):
        points = [("weak", 1, 1.0), ("strong", 1, 2.0), ("weak", 4, 2.0), ("strong", 4, 1.0)]
        view = View(a_run(*(self.completion(*point) for point in points)), "scaling")
        self.assertEqual([costs.efficiency(view, one) for one in view.all("completion", workers="4")], [0.5, 0.5])


if __name__ == "__main__":
    unittest.main()
