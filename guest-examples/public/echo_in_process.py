"""Asks another program to say something.

args: (("hello",), {})
native: value 'hello\n'
sandbox: raises OSError containing wasi does not support processes
reported: https://github.com/pyodide/pyodide/issues/548: `subprocess.run` raised BlockingIOError without a reason
"""


def echo_in_process(text):
    import subprocess

    return subprocess.run(["echo", text], capture_output=True, text=True, check=True).stdout
