"""Plots of medians: bars, stacks and lines, as SVG and PNG."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot, ticker  # noqa: E402

# Colours that everybody can tell apart (Okabe and Ito). Text stays text in SVG, and files do not change by themselves.
COLOURS = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#787878", "#beb432"]
pyplot.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "belljar",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    }
)
# Lines with more points have no dots.
DOTTED = 20


class Figure:
    """A plot of several panels; those without samples are left out."""

    def __init__(self, name, title, columns, panels):
        self.name, self.title = name, title
        self.panels = [panel for panel in panels if panel]
        self.columns = min(columns, len(self.panels))

    def write(self, directory, endings=("svg", "png")):
        if not self.panels:
            return
        rows = -(-len(self.panels) // self.columns)
        size = (9, 4.8) if len(self.panels) == 1 else (4.8 * self.columns, 3 * rows + 0.6)
        drawing, axes = pyplot.subplots(rows, self.columns, figsize=size, squeeze=False, layout="constrained")
        drawing.suptitle(self.title, x=0.01, ha="left")
        for panel, axis in zip(self.panels, axes.flat):
            panel(axis)
        for axis in axes.flat[len(self.panels) :]:
            axis.remove()
        names = {}
        for axis in drawing.axes:
            names.update(dict(zip(*reversed(axis.get_legend_handles_labels()))))
        if len(names) > 1:
            drawing.legend(names.values(), names.keys(), loc="outside lower left", ncols=len(names), frameon=False)
        for ending in endings:
            metadata = {"Date": None} if ending == "svg" else {}
            drawing.savefig(Path(directory) / f"{self.name}.{ending}", dpi=160, metadata=metadata)
        pyplot.close(drawing)


def bars(title, label, groups, sets, log=False, rule=None):
    """Groups of bars: `sets` are names with a triple of value and interval, or nothing, for each group."""
    if not any(bar for _, row in sets for bar in row):
        return None

    def draw(axis):
        width = 0.8 / len(sets)
        for index, (name, row) in enumerate(sets):
            shown = [(at, bar) for at, bar in enumerate(row) if bar]
            heights = [bar[0] for _, bar in shown]
            errors = [[max(0, bar[0] - bar[1]) for _, bar in shown], [max(0, bar[2] - bar[0]) for _, bar in shown]]
            places = [at + width * (index - (len(sets) - 1) / 2) for at, _ in shown]
            errors = errors if any(map(any, errors)) else None
            axis.bar(places, heights, width * 0.94, label=name, yerr=errors, capsize=2, error_kw={"lw": 0.8})
        frame(axis, title, "", label, y_log=log, rule=rule)
        name_groups(axis, groups)

    return draw


def stacks(title, label, groups, sets):
    """One bar for each group, made of parts: `sets` are names with a value, or nothing, for each group."""
    if not any(value for _, row in sets for value in row):
        return None

    def draw(axis):
        base = [0.0] * len(groups)
        for name, row in sets:
            row = [value or 0.0 for value in row]
            axis.bar(range(len(groups)), row, 0.6, bottom=base, label=name)
            base = [low + value for low, value in zip(base, row)]
        frame(axis, title, "", label)
        name_groups(axis, groups)

    return draw


def name_groups(axis, groups):
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if len(groups) > 8 else {}
    axis.set_xticks(range(len(groups)), groups, **turned)
    axis.tick_params(axis="x", length=0)


def lines(title, x_label, y_label, rows, x_log=True, y_log=False):
    """Lines through points: `rows` are names with points; the one named `ideal` is dashed."""
    rows = [(name, points) for name, points in rows if points]
    if not rows:
        return None

    def draw(axis):
        for name, points in rows:
            style = {"ls": "--", "lw": 1} if name == "ideal" else {"lw": 1.6}
            if len(points) <= DOTTED and name != "ideal":
                style |= {"marker": "o", "ms": 3}
            axis.plot(*zip(*points), label=name, **style)
        frame(axis, title, x_label, y_label, x_log, y_log)

    return draw


def frame(axis, title, x_label, y_label, x_log=False, y_log=False, rule=None):
    axis.set_title(title, fontsize=9)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.grid(axis="y", color="#e1e4e8")
    short = ticker.FuncFormatter(short_number)
    for log, one, scale in ((x_log, axis.xaxis, axis.set_xscale), (y_log, axis.yaxis, axis.set_yscale)):
        if log:
            scale("log")
            one.set_minor_formatter(ticker.NullFormatter())
        one.set_major_formatter(short)
    if not y_log:
        axis.set_ylim(bottom=0)
    if rule is not None:
        axis.axhline(rule, color="#c81e1e", ls="--", lw=1)


def short_number(value, _):
    for size, unit in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):g}{unit}"
    return f"{value:g}"
