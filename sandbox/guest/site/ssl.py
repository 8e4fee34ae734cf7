"""Lets libraries import that can speak TLS. Connections for granted HTTP requests get theirs from the worker."""

import enum
import socket
from collections import namedtuple

OPENSSL_VERSION, OPENSSL_VERSION_INFO, OPENSSL_VERSION_NUMBER = "OpenSSL 3.0.0 (absent)", (3, 0, 0, 0, 0), 0x30000000
HAS_SNI = HAS_ALPN = HAS_ECDH = HAS_TLSv1_2 = HAS_TLSv1_3 = HAS_NEVER_CHECK_COMMON_NAME = True
HAS_NPN = HAS_SSLv2 = HAS_SSLv3 = HAS_TLSv1 = HAS_TLSv1_1 = HAS_PSK = False
CHANNEL_BINDING_TYPES = ["tls-unique"]
DefaultVerifyPaths = namedtuple(
    "DefaultVerifyPaths", "cafile capath openssl_cafile_env openssl_cafile openssl_capath_env openssl_capath")


class _SSLMethod(enum.IntEnum):
    PROTOCOL_TLS, PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER = 2, 16, 17
    PROTOCOL_SSLv23, PROTOCOL_TLSv1, PROTOCOL_TLSv1_1, PROTOCOL_TLSv1_2 = 2, 3, 4, 5


class VerifyMode(enum.IntEnum):
    CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED = range(3)


class VerifyFlags(enum.IntFlag):
    VERIFY_DEFAULT, VERIFY_X509_STRICT, VERIFY_X509_TRUSTED_FIRST, VERIFY_X509_PARTIAL_CHAIN = 0, 0x20, 0x8000, 0x80000


class Options(enum.IntFlag):
    OP_ALL, OP_NO_COMPRESSION, OP_NO_TICKET, OP_NO_RENEGOTIATION = 0x80000050, 0x20000, 0x4000, 0x40000000
    OP_NO_SSLv2, OP_NO_SSLv3, OP_NO_TLSv1, OP_NO_TLSv1_1, OP_NO_TLSv1_2, OP_NO_TLSv1_3 = (
        0, 0x2000000, 0x4000000, 0x10000000, 0x8000000, 0x20000000)
    OP_CIPHER_SERVER_PREFERENCE, OP_SINGLE_DH_USE, OP_SINGLE_ECDH_USE = 0x400000, 0x100000, 0x80000
    OP_IGNORE_UNEXPECTED_EOF, OP_LEGACY_SERVER_CONNECT = 0x80, 4


class TLSVersion(enum.IntEnum):
    MINIMUM_SUPPORTED, MAXIMUM_SUPPORTED = -2, -1
    SSLv3, TLSv1, TLSv1_1, TLSv1_2, TLSv1_3 = range(768, 773)


for _kind in (_SSLMethod, VerifyMode, VerifyFlags, Options):
    globals().update(_kind.__members__)


class Purpose(enum.Enum):
    SERVER_AUTH, CLIENT_AUTH = "serverAuth", "clientAuth"


class SSLError(OSError):
    library = reason = None


class SSLZeroReturnError(SSLError):
    pass


class SSLWantReadError(SSLError):
    pass


class SSLWantWriteError(SSLError):
    pass


class SSLSyscallError(SSLError):
    pass


class SSLEOFError(SSLError):
    pass


class SSLCertVerificationError(SSLError, ValueError):
    verify_code, verify_message = 0, ""


CertificateError = SSLCertVerificationError
socket_error = OSError
_ABSENT = "the sandbox has no network, and so no TLS"


class SSLContext:
    """Holds what it is told, as a client's constructor does. The worker looks at certificates, whatever that is."""

    def __init__(self, protocol=PROTOCOL_TLS):
        client = protocol == PROTOCOL_TLS_CLIENT
        self.protocol, self.options, self.verify_flags = protocol, Options.OP_ALL, VerifyFlags.VERIFY_DEFAULT
        self.verify_mode, self.check_hostname = (CERT_REQUIRED, True) if client else (CERT_NONE, False)
        self.minimum_version, self.maximum_version = TLSVersion.TLSv1_2, TLSVersion.MAXIMUM_SUPPORTED
        self.post_handshake_auth, self.keylog_filename, self.sni_callback = False, None, None

    def _keep(self, *args, **kwargs):
        pass

    load_cert_chain = load_verify_locations = load_default_certs = set_default_verify_paths = load_dh_params = _keep
    set_ciphers = set_alpn_protocols = set_npn_protocols = set_ecdh_curve = set_servername_callback = _keep

    def get_ciphers(self):
        return []

    def get_ca_certs(self, binary_form=False):
        return []

    def wrap_socket(self, sock, server_side=False, *args, server_hostname=None, **kwargs):
        # One of belljar_http's: with the grant there are no others, and without there are none.
        if server_side or not hasattr(sock, "secure"):
            raise SSLError(_ABSENT)
        if not sock.secure(server_hostname):
            raise SSLCertVerificationError(1, f"the connection is to another host than `{server_hostname}`")
        return sock

    def wrap_bio(self, *args, **kwargs):
        raise SSLError(_ABSENT)


class SSLSocket(socket.socket):
    def __init__(self, *args, **kwargs):
        raise SSLError(_ABSENT)


class SSLObject:
    def __init__(self, *args, **kwargs):
        raise SSLError(_ABSENT)


class MemoryBIO(SSLObject):
    pass


class SSLSession(SSLObject):
    pass


def create_default_context(purpose=Purpose.SERVER_AUTH, *, cafile=None, capath=None, cadata=None):
    return SSLContext(PROTOCOL_TLS_CLIENT if purpose is Purpose.SERVER_AUTH else PROTOCOL_TLS_SERVER)


def _create_unverified_context(*args, **kwargs):
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, CERT_NONE
    return context


_create_default_https_context = create_default_context
_create_stdlib_context = _create_unverified_context


def get_default_verify_paths():
    return DefaultVerifyPaths(None, None, "SSL_CERT_FILE", "", "SSL_CERT_DIR", "")


def get_server_certificate(*args, **kwargs):
    raise SSLError(_ABSENT)
