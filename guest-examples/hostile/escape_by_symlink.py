"""Makes a symbolic link to a file of the host wherever it can, and reads through it.

args: (("/lib/link", "/site/link", "/tmp/link", "link"), {})
native: unsafe
sandbox: value ['PermissionError', 'PermissionError', 'PermissionError', 'PermissionError']
"""


def escape_by_symlink(*links):
    import os

    found = []
    for link in links:
        try:
            os.symlink("/etc/passwd", link)
            with open(link) as file:
                found.append(file.read())
        except OSError as error:
            found.append(type(error).__name__)
    return found
