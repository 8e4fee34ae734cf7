"""Sends a datagram.

args: ((), {})
native: unsafe
sandbox: raises OSError containing the sandbox has no network
"""


def send_udp():
    import socket

    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"hello", ("127.0.0.1", 53))
