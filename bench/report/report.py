"""The report of a run: targets, tables and plots, as Markdown and as one HTML file.

    python bench/report write RUN [--publish DIR]
    python bench/report compare A B [--tolerance PERCENT]

`belljar-bench` calls it, with a Python that has matplotlib and markdown (`make tools`).
"""

import argparse
import re
import sys
from pathlib import Path

import markdown

import costs
import speed
from compare import compare
from run import Run, figure, quantile, table
from targets import TARGETS

SECTIONS = [
    speed.latency,
    speed.single_call,
    speed.throughput,
    costs.overhead,
    costs.sandbox,
    costs.scaling,
    costs.stress,
    speed.peers,
]
HOW_TO_READ = """\
* **A latency is that of one task**, from the moment when its client sends it (or, at a given rate, when it is due) to
  the moment when the client has its result. It is never a total divided by a number of tasks.
* **p50, p95, p99**: the time within which so many percent of the tasks are answered. Means hide the slow ones.
* **Nothing is the best of several.** Rates are medians of repeated bursts, beside the slowest and the fastest; ratios
  are of medians, with the interval that contains them with 95 % confidence (bootstrap, 2,000 draws).
* **Compare within a run.** What is compared took turns within the same minutes on the same machine, so that other load
  affects all of it. Figures of different runs compare only where yardstick and load are alike; `belljar-bench compare
  A B` checks that first.
* **Processor time per task** includes every process of the service and the client, by `/proc/PID/stat`. On a machine
  with busy processors, processors / (time per task) bounds the rate.
* **Every result is checked**: each task has its own argument, and its answer must be, byte for byte, what Python gives
  on the client's side.
"""
METHOD = """\
Services are started as `belljar up` on a free port with their own Redis (append-only file on, as shipped), and measured
over HTTP by one client process with one thread and open connections, on the same machine: client and service share its
processors. Functions are serialized by dill, as clients do. The samples of all figures are in `samples.csv` and
`run.json`; `belljar-bench report DIR` makes this text from them.
"""
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #282c34; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #e1e4e8; padding: .25rem .7rem; text-align: left; }
th { background: #f6f8fa; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #e1e4e8; }
svg { max-width: 100%; height: auto; }
code { background: #f6f8fa; padding: 0 .2em; }
"""


def targets(run):
    """Every target that was measured, beside its figure."""
    rows = []
    for target in TARGETS:
        if target.measured(run) is not None:
            goal = "" if target.goal is None else f" (goal {figure(target.goal)})"
            wanted = f"{target.bound} {figure(target.number)}{goal} {target.unit}".rstrip()
            rows.append([target.group, target.what, wanted, figure(target.measured(run)), target.verdict(run)])
    return table(["", "figure", "target", "measured", "verdict"], rows)


def findings(run):
    """How many targets are met, and whether results are right."""
    verdicts = [target.verdict(run) for target in TARGETS]
    measured = [verdict for verdict in verdicts if verdict != "not measured"]
    met = [verdict for verdict in measured if verdict.startswith("met")]
    text = f"{len(met)} of {len(measured)} measured targets are met. "
    if not run.wrong:
        return text + f"{run.checked:,} results were checked, all are right.\n"
    wrong = "".join("\n    " + one.replace("\n", " ") + "\n" for one in run.wrong)
    return text + f"**{len(run.wrong)} of {run.checked:,} results are wrong.**\n{wrong}"


def machine(run):
    machine, load = run.machine, run.load
    versions = ", ".join(f"{name} {version}" for name, version in sorted(machine["versions"].items()))
    averages = [figure(quantile(load["averages"], q)) for q in (0.5, 1)]
    rows = [
        ("processor", f"{machine['processors']} of {machine['processor']}"),
        ("memory", f"{figure(machine['memory_mib'])} MiB"),
        ("system", f"{machine['system']}, Linux {machine['kernel']}"),
        ("versions", versions),
        ("yardstick", f"{figure(machine['yardstick_ms'])} ms for a fixed piece of Python work"),
        ("load average", f"{averages[0]} (median), {averages[1]} (highest)"),
        ("processors used by the measurement", f"{100 * load['ours']:.1f} %"),
        ("by other processes", f"{100 * load['others']:.1f} %"),
        ("taken by the hypervisor", f"{100 * load['stolen']:.1f} %"),
    ]
    return table(["", ""], rows)


def text_of(run, sections, plots):
    """The whole report as Markdown."""
    quick = " (`ARGS=--quick`)" if run.profile == "quick" else ""
    text = f"""\
# Performance

`make bench`{quick} on {run.started}, {run.seconds:.0f} s. {findings(run)}
## Targets

{targets(run)}
## Machine and load

{machine(run)}
## How to read it

{HOW_TO_READ}
## Method

{METHOD}"""
    if missing := [target.what for target in TARGETS if target.measured(run) is None]:
        text += f"\nNot measured in this run: {'; '.join(missing)}.\n"
    if run.notes:
        text += "\nWhat else is missing, and why:\n\n" + "".join(f"* {note}\n" for note in run.notes)
    for title, section, figures in sections:
        text += f"\n## {title}\n\n{section}"
        text += "".join(f"\n![{one.title}]({plots}/{one.name}.svg)\n" for one in figures if one.panels)
    return text


def page(text, directory):
    """Markdown as a page with its plots inside."""
    body = markdown.markdown(text, extensions=["tables"])
    inline = lambda image: (directory / image[1]).read_text().partition("<svg")[2].join(["<svg", ""])
    body = re.sub(r'<img [^>]*src="([^"]+\.svg)"[^>]*>', inline, body)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>belljar: performance</title>
<style>{STYLE}</style>
{body}
</html>
"""


def write(run, directory):
    """Writes `report.md`, `report.html` and the plots into the directory of a run."""
    sections = draw(run, directory / "plots", ("svg", "png"))
    text = text_of(run, sections, "plots")
    (directory / "report.md").write_text(text)
    (directory / "report.html").write_text(page(text, directory))


def publish(run, docs):
    """Writes `performance.md` into a directory of documentation, its plots beside it."""
    sections = draw(run, docs / "performance", ("svg",))
    (docs / "performance.md").write_text(text_of(run, sections, "performance"))


def draw(run, directory, endings):
    directory.mkdir(parents=True, exist_ok=True)
    sections = [section for section in (make(run) for make in SECTIONS) if section]
    for _, _, figures in sections:
        for one in figures:
            one.write(directory, endings)
    return sections


def main():
    parser = argparse.ArgumentParser(prog="belljar-bench")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("write")
    command.add_argument("run", type=Path)
    command.add_argument("--publish", type=Path)
    command = commands.add_parser("compare")
    command.add_argument("before")
    command.add_argument("after")
    command.add_argument("--tolerance", type=float, default=5.0)
    options = parser.parse_args()
    if options.command == "compare":
        text, worse = compare(Run(options.before), Run(options.after), options.tolerance / 100)
        print(text, end="")
        sys.exit(f"belljar-bench: {worse} figures are worse" if worse else 0)
    run = Run(options.run)
    write(run, options.run)
    if options.publish:
        publish(run, options.publish)
    else:
        print(f"{targets(run)}\n{findings(run)}\nThe report: {options.run / 'report.html'}")


if __name__ == "__main__":
    main()
