"""Sockets that carry HTTP and nothing else, for calls that were granted HTTP requests.

There is no network here. A connection takes the bytes of the request that a library writes, and hands the request to
the worker, which looks whether it is granted and makes it; the answer is read like that of a server. So `http.client`
works, and what is built on it or on sockets: `urllib.request`, requests, urllib3, httpx.

Nothing is decided here: code of a function may call the device itself, and finds the same worker behind it.
"""

import errno
import json
import os
import socket

import belljar_limits

_DEVICE = "/dev/http"
_READ_BYTES = 1 << 20
_HEAD_BYTES = 64 << 10
_ERRNO = {
    "denied": errno.ECONNREFUSED,
    "connect": errno.ECONNREFUSED,
    "broken": errno.ECONNRESET,
    "limit": errno.EMSGSIZE,
    "invalid": errno.EINVAL,
}
_PORTS = {"http": 80, "https": 443, None: 0}

# The device, once it is open; every call begins without.
_device = None


def _open():
    global _device
    if _device is None:
        _device = os.open(_DEVICE, os.O_RDWR)
    return _device


def is_granted():
    """Whether this call may make any HTTP request."""
    try:
        return _open() >= 0
    except OSError:
        return False


def exchange(head, body):
    """Makes a request, and returns the head of the answer and its body."""
    head = json.dumps(head).encode()
    device = _open()
    try:
        os.write(device, b"".join((len(head).to_bytes(4, "little"), head, body)))
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise OSError(errno.EMSGSIZE, "the HTTP request is longer than the worker takes") from None
    length = int.from_bytes(os.read(device, 4), "little")
    head = json.loads(os.read(device, length))
    if "error" in head:
        raise _error(head["error"], head["text"])
    pieces = []
    while piece := os.read(device, _READ_BYTES):
        pieces.append(piece)
    return head, b"".join(pieces)


def _error(kind, text):
    if kind == "timeout":
        return TimeoutError(text)
    if kind == "name":
        return socket.gaierror(socket.EAI_NONAME, text)
    if kind == "tls":
        import ssl

        return ssl.SSLCertVerificationError(1, text) if "certificate" in text else ssl.SSLError(1, text)
    return OSError(_ERRNO.get(kind, errno.EIO), text)


class Connection(socket.socket):
    """What `socket.socket` is in the guest: a connection to one server, for requests one after the other."""

    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        if fileno is not None or type not in (-1, socket.SOCK_STREAM) or not is_granted():
            belljar_limits.no_network()
        self._io_refs, self._closed = 0, False
        self._address, self._tls, self._timeout = None, False, socket.getdefaulttimeout()
        self._sent, self._answers = bytearray(), []

    family = property(lambda self: socket.AF_INET)
    type = property(lambda self: socket.SOCK_STREAM)
    proto = property(lambda self: 0)
    timeout = property(lambda self: self._timeout)

    def connect(self, address):
        self._address = address[:2]

    def connect_ex(self, address):
        self.connect(address)
        return 0

    def secure(self, host):
        """Asks for TLS from now on, unless it is to be for another host than the connection: that the worker does not do."""
        self._tls = host is None or host.strip("[]").lower() == self._address[0].strip("[]").lower()
        return self._tls

    def sendall(self, data, flags=0):
        if self._closed or self._address is None:
            raise OSError(errno.ENOTCONN, "the socket is not connected")
        self._sent += data
        while (request := self._request()) is not None:
            self._make(*request)

    def send(self, data, flags=0):
        self.sendall(data)
        return memoryview(data).nbytes

    def recv(self, size, flags=0):
        while self._answers:
            piece = self._answers[0][:size]
            self._answers[0] = self._answers[0][size:]
            if piece:
                return bytes(piece)
            del self._answers[0]
        return b""

    def recv_into(self, buffer, nbytes=0, flags=0):
        room = memoryview(buffer).cast("B")
        piece = self.recv(nbytes or len(room))
        room[: len(piece)] = piece
        return len(piece)

    def settimeout(self, value):
        self._timeout = value

    def gettimeout(self):
        return self._timeout

    def setblocking(self, flag):
        self._timeout = None if flag else 0.0

    def getblocking(self):
        return self._timeout != 0.0

    def setsockopt(self, *args):
        pass

    def getsockopt(self, level, option, length=None):
        return 0 if length is None else bytes(length)

    def getpeername(self):
        return self._address

    def getsockname(self):
        return "0.0.0.0", 0

    def shutdown(self, how):
        pass

    def fileno(self):
        return -1

    def detach(self):
        self._closed = True
        return -1

    def _real_close(self, _ss=None):
        self._answers.clear()

    # What there is of TLS.

    def getpeercert(self, binary_form=False):
        return b"" if binary_form else {}

    def selected_alpn_protocol(self):
        return None

    def version(self):
        return "TLSv1.3" if self._tls else None

    def unwrap(self):
        return self

    def _refuse(self, *args):
        belljar_limits.no_network()

    bind = listen = accept = recvfrom = recvmsg = sendto = sendmsg = _refuse

    def __repr__(self):
        return f"<socket.socket to {self._address}>"

    def _request(self):
        """The first whole request of what was sent, or None."""
        end = self._sent.find(b"\r\n\r\n")
        if end < 0:
            if len(self._sent) > _HEAD_BYTES:
                raise OSError(errno.EMSGSIZE, f"the headers of a request may have {_HEAD_BYTES} bytes")
            return None
        first, *lines = self._sent[:end].decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        target, _, version = rest.rpartition(" ")
        if not version.startswith("HTTP/1."):
            raise OSError(errno.EPROTONOSUPPORT, "a connection carries HTTP/1.1 and nothing else")
        headers = [(name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines)]
        named = {name.lower(): value for name, value in headers}
        if named.get("transfer-encoding", "").lower() == "chunked" and "content-length" not in named:
            headers = [header for header in headers if header[0].lower() != "transfer-encoding"]
            body, end = self._chunks(end + 4)
        else:
            start, length = end + 4, named.get("content-length", "0")
            end = start + (int(length) if length.isdecimal() else 0)
            body = bytes(self._sent[start:end]) if end <= len(self._sent) else None
        if body is None:
            return None
        del self._sent[:end]
        return method, target, headers, body

    def _chunks(self, at):
        """A body in chunks, and where it ends; None where it is not whole."""
        pieces = []
        while (end := self._sent.find(b"\r\n", at)) >= 0:
            size, at = int(self._sent[at:end].partition(b";")[0], 16), end + 2
            if size == 0:
                end = self._sent.find(b"\r\n", at)
                return (b"".join(pieces), end + 2) if end == at else (None, 0)
            if len(self._sent) < at + size + 2:
                break
            pieces.append(bytes(self._sent[at : at + size]))
            at += size + 2
        return None, 0

    def _make(self, method, target, headers, body):
        timeout = self._timeout and max(1, int(self._timeout * 1000))
        scheme, (host, port) = "https" if self._tls else "http", self._address
        head = {"method": method, "scheme": scheme, "host": host, "port": port, "target": target, "headers": headers}
        head, body = exchange({**head, "timeout_ms": timeout or None}, body)
        lines = [f"HTTP/1.1 {head['status']} {head['reason']}", *(f"{name}: {value}" for name, value in head["headers"])]
        text = "".join(f"{line}\r\n" for line in [*lines, ""])
        self._answers += [memoryview(text.encode("latin-1")), memoryview(body)]


_getaddrinfo = socket.getaddrinfo


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    """The name itself in place of an address: the worker finds out where it leads."""
    if not is_granted():
        belljar_limits.note("network", f"{host}:{port}")
        return _getaddrinfo(host, port, family, type, proto, flags)
    host = host.decode("idna") if isinstance(host, bytes) else host or "localhost"
    port = _PORTS[port] if port in _PORTS else int(port)
    return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port))]


Connection.__module__, Connection.__name__, Connection.__qualname__ = "socket", "socket", "socket"
socket.socket = Connection
socket.getaddrinfo = getaddrinfo
