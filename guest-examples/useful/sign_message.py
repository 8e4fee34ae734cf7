"""Hashes a message and signs it with a key.

args: ((b"key", b"The quick brown fox jumps over the lazy dog"), {})
native: value ('d7a8fbb307d7', 'f7bc83f430538424', '9e107d9d372bb682')
sandbox: same
"""


def sign_message(key, message):
    import hashlib
    import hmac

    signed = hmac.new(key, message, hashlib.sha256).hexdigest()
    return hashlib.sha256(message).hexdigest()[:12], signed[:16], hashlib.md5(message).hexdigest()[:16]
