"""Lists directories of the machine by absolute path. `/tmp` is the call's own.

args: (("/", "/etc", "/home", "/root", "/tmp", "/var"), {})
native: unsafe
sandbox: value (1, {'PermissionError'})
"""


def list_absolute_paths(*paths):
    import os

    listed, refused = 0, set()
    for path in paths:
        try:
            os.listdir(path)
            listed += 1
        except OSError as error:
            refused.add(type(error).__name__)
    return listed, refused
