"""Writes, removes and renames files, those of the standard library among them.

args: ((), {})
native: unsafe
sandbox: value (0, {'PermissionError'})
"""


def write_outside_grant():
    import os

    attempts = [
        lambda: open("/lib/os.py", "w"),
        lambda: open("/lib/new.py", "x"),
        lambda: open("/new", "w"),
        lambda: open("/tmp/../new", "w"),
        lambda: os.remove("/lib/os.py"),
        lambda: os.rename("/lib/os.py", "/lib/so.py"),
        lambda: os.mkdir("/lib/new"),
        lambda: os.truncate("/lib/os.py", 0),
    ]
    done, refused = 0, set()
    for attempt in attempts:
        try:
            attempt()
            done += 1
        except OSError as error:
            refused.add(type(error).__name__)
    return done, refused
