"""Reads a file of the host. Native functions may: they have the rights of the user that runs belljar.

args: ((), {})
native: value 'root:'
sandbox: raises PermissionError containing /etc/passwd
"""


def read_etc_passwd():
    with open("/etc/passwd") as file:
        return file.read(5)
