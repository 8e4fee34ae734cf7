"""Matches a regular expression that takes exponential time.

args: ((), {})
native: raises TimeoutError containing 500ms
sandbox: same
limits: timeout_s=0.5 memory_mb=128
"""


def backtrack_regex():
    import re

    return re.match(r"(a+)+$", "a" * 60 + "b")
