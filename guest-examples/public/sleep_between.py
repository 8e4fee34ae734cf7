"""Sleeps between its steps and says whether the time has passed.

args: ((0.05,), {})
native: value True
sandbox: same
reported: https://github.com/pyodide/pyodide/issues/1720: `time.sleep` returned at once
"""


def sleep_between(pause):
    import time

    start = time.monotonic()
    for _ in range(2):
        time.sleep(pause)
    return time.monotonic() - start >= 2 * pause
