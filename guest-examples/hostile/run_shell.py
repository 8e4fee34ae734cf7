"""Runs a shell command.

args: ((), {})
native: value 0
sandbox: raises OSError containing the sandbox has one process
"""


def run_shell():
    import os

    return os.system("true")
