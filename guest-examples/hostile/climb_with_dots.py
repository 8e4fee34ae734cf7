"""Climbs out of the standard library's directory with `..`.

args: (("/lib/../etc/passwd", "/lib/../../../etc/passwd", "../../../etc/passwd", "/lib/json/../../etc"), {})
native: unsafe
sandbox: value ['PermissionError', 'PermissionError', 'PermissionError', 'PermissionError']
"""


def climb_with_dots(*paths):
    found = []
    for path in paths:
        try:
            with open(path) as file:
                found.append(file.read())
        except OSError as error:
            found.append(type(error).__name__)
    return found
