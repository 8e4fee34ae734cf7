#!/usr/bin/env python3
"""Runs the tests that the authors of the guest's packages wrote in the sandbox, a call for each file of them, and writes a page on what passes.

usage: package_tests.py --belljar PROGRAM --tests DIR [--only numpy/fft ...] >PAGE.md

DIR holds the tests of each package, in a folder of its name, beside pytest; the Python that runs this is of the guest's minor.
`make guest-tests` brings them together.
"""

import argparse
import json
import platform
from collections import Counter
from pathlib import Path

from guest_suites import ABOUT, ENDS, HEAD, measured, row

# Tests that need what no call has, or more time: the network, a database, other processes.
LEFT_OUT = "not slow and not network and not db and not single_cpu"


def run_tests(directory, name):
    """Runs a file of tests in the call, and says how each test ended and why."""
    import contextlib
    import importlib
    import io
    import os
    import sys
    from pathlib import Path

    sys.path.insert(0, directory)
    sys.dont_write_bytecode = True
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = "/tmp/hypothesis"
    package, _, path = name.partition("/")
    inner = Path(path).parts[:-1]
    # The tests of some are parts of the package itself, of which the guest has the others.
    for at in range(1, len(inner) + 1):
        if inner[0] != package or inner[at - 1] == "tests":
            break
        importlib.import_module(".".join(inner[:at])).__path__.append("/".join((directory, package, *inner[:at])))
    if os.path.isdir(f"{directory}/{package}/Tests"):  # Pillow's read their pictures from there.
        os.chdir(f"{directory}/{package}")
        sys.path.insert(0, f"{directory}/{package}")
    import pytest

    ends, why = {}, {}

    class Results:
        def pytest_collection_modifyitems(self, items):
            # Of lxml: what its own runner makes more tests of, and classes that others derive from.
            items[:] = [item for item in items if item.name not in ("test_suite", "runTest") and not getattr(item.cls, "__name__", "").startswith("_")]

        def pytest_runtest_logreport(self, report):
            test = report.nodeid
            if report.failed:
                ends[test] = "failed"
                why.setdefault(test, str(getattr(report.longrepr, "reprcrash", report.longrepr)).rpartition("py:")[2][:300])
            elif report.skipped:
                ends.setdefault(test, "passed" if hasattr(report, "wasxfail") else "skipped")
                if isinstance(report.longrepr, tuple):
                    why.setdefault(test, report.longrepr[2][:300])
            elif report.when == "call":
                ends.setdefault(test, "passed")

        def pytest_collectreport(self, report):
            if report.failed:
                ends[report.nodeid], why[report.nodeid] = "failed", str(report.longrepr).rpartition("E   ")[2][:300]

    without = ["cacheprovider", "faulthandler", "unraisableexception", "threadexception", "hypothesispytest"]
    words = [word for plugin in without for word in ("-p", f"no:{plugin}")]
    words += ["-qq", "-s", "--assert=plain", "--tb=line", "--no-summary", "-c", "/dev/null", "-W", "ignore", "--import-mode=importlib"]
    # pandas' archive has not the data that some of its tests read.
    words += ["--no-strict-data-files"] if package == "pandas" else []
    places = [f"--rootdir={directory}/{package}", f"--confcutdir={directory}/{package}", f"{directory}/{name}"]
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = pytest.main([*words, "-m", LEFT_OUT, *places], plugins=[Results()])
    except pytest.skip.Exception as skipped:  # By what a folder of tests has in common.
        return {"whole": "skipped", "why": str(skipped)}
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        return {"whole": "failed", "why": next(iter(why.values()), out.getvalue()[-300:])}
    return {"ends": ends, "why": why}


def folder(name):
    """The folder of tests that a file belongs to, as a page names it."""
    package, *inner = Path(name).parts[:-1]
    named = [part for part in inner if part not in (package, "tests", "test", "Tests")]
    return "/".join([package, *named[:1]])


def together(said):
    """What the files of each folder said, as if it were one part; and those that ended as a whole."""
    folders, whole = {}, {}
    for name, it in sorted(said.items()):
        if "whole" in it:
            whole[name] = it
            continue
        kept = folders.setdefault(folder(name), {"ends": {}, "why": {}})
        for part in kept:
            kept[part].update((f"{name} {test}", value) for test, value in it[part].items())
    return folders, whole


def page(said):
    """The page, from what all files said."""
    folders, whole = together(said)
    yield f"# The packages' own tests in the sandbox ({'.'.join(platform.python_version_tuple()[:2])})\n"
    yield f"Generated by `make guest-tests`; do not edit. Each file of tests is {ABOUT}\n"
    yield "| package | passed | failed | skipped | files skipped as a whole | files that failed as a whole |\n|---|---|---|---|---|---|"
    for package in sorted({name.partition("/")[0] for name in said}):
        own = [it for name, it in folders.items() if name.partition("/")[0] == package]
        total = Counter(end for it in own for end in it["ends"].values())
        ended = Counter(it["whole"] for name, it in whole.items() if name.startswith(f"{package}/"))
        yield f"| {package} | {' | '.join(f'{total[end]:,}' for end in ENDS)} | {ended['skipped'] or ''} | {ended['failed'] or ''} |"
    yield "\nTests are left out that their authors mark as slow, or as ones that need the network, a database or a processor for themselves. What fails"
    yield "needs threads, processes, other packages, or more memory or time than the call has. The last column has the commonest reasons for what"
    yield "failed; where nothing did, for what was skipped.\n"
    yield HEAD
    yield from (row(name, it) for name, it in folders.items())
    yield from (row(name, it) for name, it in whole.items() if it["whole"] == "failed")


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--belljar", required=True)
    parse.add_argument("--tests", required=True, type=Path)
    parse.add_argument("--only", nargs="*", default=[""], help="files whose names begin so, instead of all")
    parse.add_argument("--json", type=Path, help="a file for how every test ended")
    given = parse.parse_args()
    tests = given.tests.resolve()
    files = sorted(str(path.relative_to(tests)) for path in tests.glob("*/**/test_*.py") if {"tests", "test", "Tests"} & set(path.parts))
    said = measured(given.belljar, tests, [name for name in files if name.startswith(tuple(given.only))], run_tests)
    if given.json:
        given.json.write_text(json.dumps(said, indent=1))
    print("\n".join(page(said)))


main()
