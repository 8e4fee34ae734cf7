"""Listens on a TCP port.

args: ((), {})
native: unsafe
sandbox: raises OSError containing the sandbox has no network
"""


def listen_on_port():
    import socket

    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server.getsockname()
