"""Asks psutil how busy the machine is. The interpreters of the tests have not got it.

args: ((), {})
native: unsafe
sandbox: refused psutil
reported: https://github.com/perspective-dev/perspective/issues/2263: it could not be installed, since psutil has no pure wheel
"""


def watch_machine():
    import psutil

    return psutil.cpu_percent()
