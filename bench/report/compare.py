"""The comparison of two runs: which figures are worse or better by more than chance explains."""

from run import figure, median, ratio, table

# With fewer samples on either side, an interval says little: then a change counts from a larger share on, and only if
# the samples of the runs do not overlap.
FEW, FEW_TOLERANCE = 8, 0.25
# Two runs with a larger difference of their yardsticks are not comparable.
SAME_MACHINE = 0.1


def compare(before, after, tolerance):
    """The text of a comparison, and the number of figures that are worse."""
    counterparts = {series.key(): series for series in after.series}
    pairs = [(series, counterparts[series.key()]) for series in before.series if series.key() in counterparts]
    found = {"worse": [], "better": []}
    for one, other in pairs:
        change, at = judge(one, other, tolerance)
        if change:
            middles = [f"{figure(median(series.samples))} {series.unit}" for series in (one, other)]
            found[change].append([one.title(), *middles, f"{at[0]:.2f}", f"{at[1]:.2f} - {at[2]:.2f}"])
    text = f"{len(pairs)} figures are in both runs.\n" + conditions(before, after)
    for change, rows in found.items():
        if rows:
            text += f"\n{len(rows)} are {change}:\n\n{table(['figure', 'before', 'after', 'ratio', '95 %'], rows)}"
    worse = len(found["worse"])
    return text + ("" if worse else "\nNothing is worse.\n"), worse


def judge(before, after, tolerance):
    """`worse`, `better` or nothing, and the ratio of the medians with its interval."""
    at = ratio(after.samples, before.samples)
    if at is None:
        return None, at
    value, low, high = at
    if min(len(before.samples), len(after.samples)) < FEW:
        tolerance = max(tolerance, FEW_TOLERANCE)
        overlap = min(after.samples) <= max(before.samples) and max(after.samples) >= min(before.samples)
        low = high = 1 if overlap else value
    grown, shrunk = low > 1 + tolerance, high < 1 / (1 + tolerance)
    if not grown and not shrunk:
        return None, at
    return ("worse" if grown == (before.better == "less") else "better"), at


def conditions(before, after):
    """Whether both runs had the same conditions."""
    one, other = before.machine["yardstick_ms"], after.machine["yardstick_ms"]
    text = ""
    if not one or abs(other / one - 1) > SAME_MACHINE:
        text += (
            "The machine was not equally fast: a fixed piece of Python work took "
            f"{figure(one)} ms before and {figure(other)} ms after.\n"
        )
    others = [100 * (run.load["others"] + run.load["stolen"]) for run in (before, after)]
    if max(others) > 5:
        text += f"Other processes used the processors: {others[0]:.0f} % before, {others[1]:.0f} % after.\n"
    return text
