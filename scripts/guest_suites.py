"""Runs suites of tests of others in the sandbox, a call for each part, and tells in a table what passes."""

import re
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import as_completed

import belljar

TIMEOUT_S = 300
MEMORY_MB = 1024
SCRATCH_MB = 256
ENDS = ["passed", "failed", "skipped"]
HEAD = "| part | passed | failed | skipped | reasons |\n|---|---|---|---|---|"
ABOUT = f"one call in a fresh interpreter, with\n{MEMORY_MB} MB of memory and {SCRATCH_MB} MB of `/tmp`, limited to {TIMEOUT_S} s."


def measured(program, tests, names, run_tests):
    """What each part said, by its name: `run_tests(directory, name)` runs it in the call, and returns how its tests ended (`ends`) and why
    (`why`), or how the part ended as a whole."""
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
                    print(f"\r{len(said)} of {len(names)} parts", end="", file=sys.stderr)
        finally:
            up.terminate()
            up.wait()
            print(file=sys.stderr)
    return said


def reason(text):
    """A reason on one line of a table, without what differs from run to run."""
    text = re.sub(r"/tmp/\S+|0x[0-9a-f]+|/\S*-tests-[^/\s]*\S*", "…", " ".join(text.split()))
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
