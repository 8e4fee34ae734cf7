"""Asks for the address of a name.

args: ((), {})
native: unsafe
sandbox: raises AttributeError containing module '_socket' has no attribute 'getaddrinfo'
"""


def resolve_name():
    import socket

    return socket.getaddrinfo("localhost", 80)
