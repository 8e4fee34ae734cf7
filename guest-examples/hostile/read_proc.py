"""Reads what the kernel tells of processes: command line, environment, memory.

args: (("/proc/self/environ", "/proc/1/cmdline", "/proc/self/mem", "/proc/self/fd/0"), {})
native: unsafe
sandbox: value ['PermissionError', 'PermissionError', 'PermissionError', 'PermissionError']
"""


def read_proc(*paths):
    found = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                found.append(file.read(1))
        except OSError as error:
            found.append(type(error).__name__)
    return found
