"""Asks for the address of a name.

args: ((), {})
native: unsafe
sandbox: raises gaierror containing the sandbox has no network
"""


def resolve_name():
    import socket

    return socket.getaddrinfo("localhost", 80)
