"""Digests of many small blocks."""


def hashing(n):
    import hashlib

    digest = str(n).encode()
    for _ in range(24_000):
        digest = hashlib.sha256(digest).digest()
    return digest.hex()
