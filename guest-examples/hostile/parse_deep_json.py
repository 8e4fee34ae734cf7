"""Parses JSON of 100,000 nested lists.

args: ((), {})
native: raises RecursionError
sandbox: same
limits: timeout_s=5 memory_mb=128
"""


def parse_deep_json():
    import json

    return len(json.loads("[" * 100_000 + "]" * 100_000))
