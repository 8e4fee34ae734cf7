"""Starts a program.

args: ((), {})
native: value b'hello\n'
sandbox: raises OSError containing wasi does not support processes
"""


def run_subprocess():
    import subprocess

    return subprocess.run(["/bin/echo", "hello"], capture_output=True, check=True).stdout
