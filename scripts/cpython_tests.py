#!/usr/bin/env python3
"""Runs CPython's own tests in the sandbox, one call for each module of tests, and writes a page on what passes.

usage: cpython_tests.py --belljar PROGRAM --tests DIR [--only test_json ...] >PAGE.md

DIR holds the `test` package of CPython, of the version of the guest; the Python that runs this is of the guest's minor.
`make cpython-tests` brings both together.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import as_completed
from pathlib import Path

import belljar

TIMEOUT_S = 300
MEMORY_MB = 1024
SCRATCH_MB = 256
# What a module of tests needs that no service has: parts of CPython that only its own tests import.
INTERNAL = re.compile(r"_testcapi|_testinternalcapi|_testmultiphase|_testbuffer|_testlimitedcapi|_testclinic|_xxtestfuzz|_ctypes_test|_testexternalinspection")
ENDS = ["passed", "failed", "skipped"]


def run_tests(directory, name):
    """Runs a module of tests in the call, and says how each test ended and why."""
    import io
    import sys
    import unittest

    sys.path.insert(0, directory)
    from test import support

    ends, why = {}, {}

    class Result(unittest.TestResult):
        """Keeps the worst end of each test, and the first reason for it."""

        def note(self, test, end, reason=""):
            order = ["passed", "skipped", "failed"]
            if order.index(end) >= order.index(ends.get(test.id(), "passed")):
                ends[test.id()] = end
                if reason:
                    why.setdefault(test.id(), reason)

        def addSuccess(self, test):
            self.note(test, "passed")

        def addSkip(self, test, reason):
            self.note(test, "skipped", reason)

        def addExpectedFailure(self, test, error):
            self.note(test, "passed")

        def addUnexpectedSuccess(self, test):
            self.note(test, "failed", "passed, though it is expected to fail")

        def addError(self, test, error):
            self.note(test, "failed", f"{error[0].__name__}: {error[1]}"[:300])

        addFailure = addError

        def addSubTest(self, test, part, error):
            if error is not None and not issubclass(error[0], unittest.SkipTest):
                self.addError(test, error)

    try:
        loaded = __import__(f"test.{name}", fromlist=["*"])
    except unittest.SkipTest as skipped:
        return {"whole": "skipped", "why": str(skipped)}
    except BaseException as error:
        return {"whole": "failed", "why": f"{type(error).__name__}: {error}"[:300]}
    result, out = Result(), (sys.stdout, sys.stderr)
    sys.stdout = sys.stderr = io.StringIO()
    try:
        if hasattr(loaded, "test_main") and hasattr(support, "_run_suite"):  # The older way, up to 3.11.
            support._run_suite = lambda suite: suite.run(result)
            loaded.test_main()
        else:
            unittest.defaultTestLoader.loadTestsFromModule(loaded).run(result)
    except unittest.SkipTest as skipped:
        if not ends:
            return {"whole": "skipped", "why": str(skipped)}
    except BaseException as error:
        why["the module"], ends["the module"] = f"{type(error).__name__}: {error}"[:300], "failed"
    finally:
        sys.stdout, sys.stderr = out
    return {"ends": ends, "why": why}


def measured(program, tests, names):
    """What each module of tests said, by its name."""
    said = {}
    with tempfile.TemporaryDirectory() as data:
        options = ["--listen", "127.0.0.1:0", "--data", data, "--workers", "2", "--grant-read", str(tests), "--grant-scratch-mb", str(SCRATCH_MB)]
        up = subprocess.Popen([program, "up", *options], stdout=subprocess.PIPE, text=True)
        try:
            url = next(found.group() for line in up.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
            with belljar.Executor(url, runtime="sandbox", timeout=TIMEOUT_S, memory_mb=MEMORY_MB, retries=0) as executor:
                executor = executor.options(read=[str(tests)], scratch_mb=SCRATCH_MB)
                waiting = {executor.submit(run_tests, str(tests), name): name for name in names}
                for future in as_completed(waiting):
                    try:
                        said[waiting[future]] = future.result()
                    except Exception as error:
                        said[waiting[future]] = {"whole": "failed", "why": f"{type(error).__name__}: {error}"[:300]}
                    print(f"\r{len(said)} of {len(names)} modules", end="", file=sys.stderr)
        finally:
            up.terminate()
            up.wait()
            print(file=sys.stderr)
    return said


def reason(text):
    """A reason on one line of a table, without what differs from run to run."""
    text = re.sub(r"/tmp/\S+|0x[0-9a-f]+|/\S*/cpython-tests\S*", "…", " ".join(text.split()))
    text = text if len(text) <= 90 else text[:89] + "…"
    return text.replace("|", "\\|").replace("`", "'").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def row(name, said):
    """A line of the table: how many tests ended how, and the commonest reasons."""
    if "whole" in said:
        return f"| {name} | | | | {said['whole']} as a whole: {reason(said['why'])} |"
    counts, why = Counter(said["ends"].values()), said["why"]
    reasons = Counter(reason(why[test]) for test, end in said["ends"].items() if end == "failed" and test in why)
    reasons = reasons or Counter(reason(why[test]) for test, end in said["ends"].items() if end == "skipped" and test in why)
    told = "; ".join(f"{text} ({count})" for text, count in reasons.most_common(2))
    return f"| {name} | {' | '.join(str(counts[end] or '') for end in ENDS)} | {told} |"


def page(said):
    """The page, from what all modules said."""
    said = dict(sorted(said.items()))
    total = Counter(end for it in said.values() for end in it.get("ends", {}).values())
    whole = Counter(it["whole"] for it in said.values() if "whole" in it)
    failed = (it["why"].get(test, "") for it in said.values() for test, end in it.get("ends", {}).items() if end == "failed")
    inside = sum(bool(INTERNAL.search(why)) for why in failed)
    yield f"# CPython's own tests in the sandbox ({'.'.join(platform.python_version_tuple()[:2])})\n"
    yield "Generated by `make cpython-tests`; do not edit. Each module of CPython's tests is one call in a fresh interpreter, with"
    yield f"{MEMORY_MB} MB of memory and {SCRATCH_MB} MB of `/tmp`, limited to {TIMEOUT_S} s.\n"
    yield "| tests | |\n|---|---|"
    for end in ENDS:
        yield f"| {end} | {total[end]:,} |"
    yield f"| of the failed: they need modules that only CPython's tests have | {inside:,} |"
    yield f"| modules of tests run | {len(said) - sum(whole.values())} |"
    yield f"| modules skipped by themselves, as a whole | {whole['skipped']} |"
    yield f"| modules that failed as a whole | {whole['failed']} |\n"
    yield "What is skipped or fails needs threads, processes, sockets, signals, mapped files, another time zone, files outside `/tmp`, or"
    yield "CPython's internals; [The sandbox](../reference/sandbox.md) says what there is. The last column has the commonest reasons for what"
    yield "failed; where nothing did, for what was skipped.\n"
    yield "| module | passed | failed | skipped | reasons |\n|---|---|---|---|---|"
    yield from (row(name, it) for name, it in said.items())


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--belljar", required=True)
    parse.add_argument("--tests", required=True, type=Path)
    parse.add_argument("--only", nargs="*", help="modules of tests, instead of all")
    parse.add_argument("--json", type=Path, help="a file for how every test ended")
    given = parse.parse_args()
    tests = given.tests.resolve()
    found = (path for path in (tests / "test").glob("test_*") if path.suffix == ".py" or (path / "__init__.py").exists())
    said = measured(given.belljar, tests, given.only or sorted(path.stem for path in found))
    if given.json:
        given.json.write_text(json.dumps(said, indent=1))
    print("\n".join(page(said)))


main()
