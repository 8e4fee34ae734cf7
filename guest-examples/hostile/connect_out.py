"""Opens a TCP connection to the machine's own loopback, where Redis and the gateway listen.

args: ((), {})
native: unsafe
sandbox: raises gaierror containing the sandbox has no network
"""


def connect_out():
    import socket

    return socket.create_connection(("127.0.0.1", 6379), timeout=0.5).getpeername()
