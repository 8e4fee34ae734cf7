"""Hashes a password by pbkdf2 and by scrypt, as web frameworks do.

args: (("secret", b"salt"), {})
native: value ('a8df899f3c4f204d', 'eba9bb7eb94c6ebd')
sandbox: same
reported: https://github.com/cloudflare/python-workers-examples/pull/102: `hashlib` had no `pbkdf2_hmac`
"""


def hash_password(password, salt):
    import hashlib

    one = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1000)
    other = hashlib.scrypt(password.encode(), salt=salt, n=1024, r=8, p=1, dklen=32)
    return one.hex()[:16], other.hex()[:16]
