"""Runs `guest-examples/public/` on a real service: natively and in the sandbox, from each Python that has a guest.

    make public-examples

Writes docs/reports/public-examples.md, and ends with 1 where an outcome is not the one that its docstring states. `--belljar`
names the program; the interpreters of other Pythons are those of `make pythons`. `--packages` names an interpreter that has
numpy, pandas and regex: it runs what needs them by itself, and the sandbox has to give what it gives.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "guest-examples/public"
PAGE = ROOT / "docs/reports/public-examples.md"
DEFAULT, OTHER, ALONE = "3.11", "3.13", "3.11 by itself"
sys.path[:0] = [str(ROOT / "client/src"), str(ROOT / "testkit/python")]

INTRODUCTION = """# Public examples: code that failed in other Pythons on WebAssembly

Each row is a public report of Python code that failed in another Python on WebAssembly: in Pyodide, RustPython, componentize-py,
wasmer's, a plain WASI build of CPython. For each there is a function of our own in [guest-examples/public](../../guest-examples/README.md)
that does what its reporter wanted, and here is what became of it. What fails says so, with the error and, where there
is one, the way out that the caller gets.

`make public-examples` runs all of them on a real service and writes this page; `tests/tests/examples.rs` holds each
to what its docstring states. A report is of the version of its day: what failed there then may work there now. The native
interpreters of the tests have no numpy, pandas and regex: what needs one of them was run natively without the service.
"""


class Example:
    """A file of the folder: its function, and what its docstring states."""

    def __init__(self, path):
        self.name, self.source = path.stem, path.read_text()
        said, _, fields = self.source.split('"""')[1].partition("\n\n")
        self.what = " ".join(said.split()).partition(" The interpreters of the tests")[0]
        self.fields = dict(line.split(": ", 1) for line in fields.splitlines() if ": " in line)
        self.reported, _, self.failed = self.fields["reported"].partition(": ")

    def limits(self):
        """What it is registered with, as options of an executor."""
        pairs = (pair.split("=") for pair in self.fields.get("limits", "").split())
        return {name.removesuffix("_s"): json.loads(value) for name, value in pairs}

    def expected(self, runtime, python):
        said = self.fields[runtime]
        if runtime == "sandbox":
            said = self.fields.get(f"sandbox-{python}", said)
        return self.fields["native"] if said == "same" else said


def examples():
    return [Example(path) for path in sorted(EXAMPLES.glob("*.py"))]


def outcome(executor, example):
    """What becomes of a call, as docstrings state it: `value`, `raises` or `refused`, with the text and the hint of an error."""
    import belljar

    names = {"__name__": "__main__"}
    exec(example.source, names)
    positional, keyword = eval(example.fields["args"])
    try:
        future = executor.submit(names[example.name], *positional, **keyword)
        return {"kind": "value", "text": repr(future.result(60))}
    except belljar.InvalidRequest as error:
        return {"kind": "refused", "text": str(error)}
    except (Exception, SystemExit) as error:
        notes = getattr(error, "__notes__", [])
        hints = [line for note in notes for line in note.splitlines() if line.startswith("hint: ")]
        # A class that is not Python's own, of a call in the sandbox, is not loaded here but named.
        is_named = isinstance(error, belljar.RemoteError)
        name = str(error).partition(": ")[0].rpartition(".")[2] if is_named else type(error).__name__
        return {"kind": "raises", "class": name, "text": "\n".join([repr(error), *notes]), "hint": " ".join(hints)}


def is_expected(said, got):
    kind, _, text = said.partition(" ")
    if kind == "raises":
        name, _, text = text.partition(" containing ")
        return got["kind"] == kind and got["class"] == name and text in got["text"]
    return got["kind"] == kind and (got["text"] == text if kind == "value" else text in got["text"])


def run_all(url):
    """Runs every example from this Python, and prints the outcomes as JSON."""
    import belljar

    python = "{}.{}".format(*sys.version_info)
    found = {}
    with belljar.Executor(url, timeout=10, memory_mb=128, retries=0) as executor:
        for runtime in ("native", "sandbox"):
            for example in examples():
                if example.expected(runtime, python) != "unsafe":
                    found[f"{runtime} {example.name}"] = outcome(executor.options(runtime=runtime, **example.limits()), example)
    print(json.dumps(found))


def run_alone():
    """Runs those that the service does not run natively from this Python, and prints the outcomes as JSON."""
    found = {}
    for example in examples():
        if example.fields["native"] == "unsafe" and example.fields["sandbox"].startswith("value "):
            names = {}
            exec(example.source, names)
            positional, keyword = eval(example.fields["args"])
            found[f"sandbox {example.name}"] = {"kind": "value", "text": repr(names[example.name](*positional, **keyword))}
    print(json.dumps(found))


def cell(got):
    """An outcome as a cell of the table."""
    if got is None:
        return "not run: it is not installed"
    if got["kind"] == "value":
        return "works"
    if got["kind"] == "refused":
        return "refused: needs " + got["text"].partition(" needs ")[2]
    hint = got["hint"].removeprefix("hint: ")
    return f"`{got['class']}`" + (f": {hint}" if hint else "")


def rows(outcomes):
    for example in examples():
        native, one, other, alone = (outcomes[python].get(f"{runtime} {example.name}") for runtime, python in
                                     (("native", DEFAULT), ("sandbox", DEFAULT), ("sandbox", OTHER), ("sandbox", ALONE)))
        *_, project, _, number = example.reported.split("/")
        place = f"{project}#{number}"
        cells = [f"[{place}]({example.reported})", example.failed, f"`{example.name}`: {example.what}", "the same, run by itself" if alone else cell(native), cell(one)]
        cells.append("the same" if cell(one) == cell(other) and len(cell(one)) > 20 else cell(other))
        yield "| " + " | ".join(text.replace("\n", " ").replace("|", "\\|") for text in cells) + " |"


def page(outcomes):
    works = {python: sum(got["kind"] == "value" for key, got in outcomes[python].items() if key.startswith("sandbox ")) for python in outcomes}
    total = len(examples())
    lines = [INTRODUCTION, f"Of {total} functions, {works[DEFAULT]} work in the sandbox of {DEFAULT} and {works[OTHER]} in that of {OTHER}.", ""]
    lines += [f"| report | what failed there | what was tried here | native | sandbox {DEFAULT} | sandbox {OTHER} |", "|" + "---|" * 6]
    return "\n".join([*lines, *rows(outcomes), ""])


def ran_by(program, at):
    command = [program, __file__, "--at", at]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def complain(outcomes):
    """Prints each outcome that is not the stated one, and counts them."""
    wrong = 0
    named = {example.name: example for example in examples()}
    for python, found in outcomes.items():
        for key, got in found.items():
            runtime, name = key.split()
            said = named[name].expected(runtime, python)
            if not is_expected(said, got):
                wrong += 1
                print(f"{name}, {runtime} {python}: `{said}` expected, but {json.dumps(got, ensure_ascii=False)}", file=sys.stderr)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--belljar", default=ROOT / "target/release/belljar")
    parser.add_argument("--packages", help="a Python 3.11 with numpy, pandas and regex")
    parser.add_argument("--at", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.at:
        return run_alone() if options.at == ALONE else run_all(options.at)
    from belljar_testkit import Service

    pythons = {DEFAULT: ROOT / ".belljar/venv/bin/python", OTHER: ROOT / f".belljar/pythons/{OTHER}/bin/python"}
    site = str(next(ROOT.glob(".belljar/venv/lib/python*/site-packages")))
    outcomes = {}
    with Service(options.belljar, "-w", "1", env={**os.environ, "BELLJAR_SITE": site, "BELLJAR_LOG": "error"}) as service:
        for python, program in pythons.items():
            outcomes[python] = ran_by(program, service.url)
    outcomes[ALONE] = ran_by(options.packages, ALONE) if options.packages else {}
    PAGE.write_text(page(outcomes))
    return 1 if complain(outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
