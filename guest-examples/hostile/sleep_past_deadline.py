"""Sleeps for longer than it may.

args: ((), {})
native: raises TimeoutError containing 500ms
sandbox: same
limits: timeout_s=0.5 memory_mb=128
"""


def sleep_past_deadline():
    import time

    time.sleep(3600)
