"""What CPython's `hashlib` has of OpenSSL only: `scrypt`, and since 3.12 `pbkdf2_hmac`."""

import hashlib
import hmac

import _belljar_scrypt

_MOST_MEMORY = 32 << 20


def scrypt(password, *, salt=None, n=None, r=None, p=None, maxmem=0, dklen=64):
    """scrypt password-based key derivation function."""
    if salt is None:
        raise TypeError("salt is required")
    for name, value in (("n", n), ("r", r), ("p", p)):
        if not isinstance(value, int) or value < 0:
            raise TypeError(f"{name} is required and must be an unsigned int")
    if n < 2 or n & (n - 1):
        raise ValueError("n must be a power of 2.")
    if not 0 <= maxmem <= 2**31 - 1:
        raise ValueError("maxmem must be positive and smaller than 2147483647")
    if not 1 <= dklen <= 2**31 - 1:
        raise ValueError("dklen must be greater than 0 and smaller than 2147483647")
    memory = 128 * r * p + 128 * r * (n + 2)
    if not r or not p or r * p >= 1 << 30 or memory > (maxmem or _MOST_MEMORY):
        raise ValueError("Invalid parameter combination for n, r, p, maxmem.")
    return _belljar_scrypt.derive(password, salt, n, r, p, dklen)


def pbkdf2_hmac(hash_name, password, salt, iterations, dklen=None):
    """Password based key derivation function 2 (PKCS #5 v2.0) with HMAC as pseudorandom function."""
    if iterations < 1:
        raise ValueError("iteration value must be greater than 0.")
    keyed = hmac.new(bytes(password), None, hash_name)
    dklen = keyed.digest_size if dklen is None else dklen
    if dklen < 1:
        raise ValueError("key length must be greater than 0.")
    key = b""
    while len(key) < dklen:
        block = keyed.copy()
        block.update(bytes(salt) + (len(key) // keyed.digest_size + 1).to_bytes(4, "big"))
        last = block.digest()
        mixed = int.from_bytes(last, "big")
        for _ in range(iterations - 1):
            block = keyed.copy()
            block.update(last)
            last = block.digest()
            mixed ^= int.from_bytes(last, "big")
        key += mixed.to_bytes(keyed.digest_size, "big")
    return key[:dklen]


for _function in (scrypt, pbkdf2_hmac):
    if not hasattr(hashlib, _function.__name__):
        setattr(hashlib, _function.__name__, _function)
