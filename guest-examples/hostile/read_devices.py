"""Opens devices.

args: (("/dev/zero", "/dev/urandom", "/dev/mem", "/dev/tty", "/dev/fd/3"), {})
native: unsafe
sandbox: value ['PermissionError', 'PermissionError', 'PermissionError', 'PermissionError', 'PermissionError']
"""


def read_devices(*paths):
    found = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                found.append(file.read(1))
        except OSError as error:
            found.append(type(error).__name__)
    return found
