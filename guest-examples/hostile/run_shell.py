"""Runs a shell command.

args: ((), {})
native: value 0
sandbox: raises AttributeError containing module 'os' has no attribute 'system'
"""


def run_shell():
    import os

    return os.system("true")
