"""Finds primes in a bytearray.

args: ((100_000,), {})
native: value (9592, [99971, 99989, 99991])
sandbox: same
"""


def sieve_primes(limit):
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\0\0"
    for n in range(2, int(limit**0.5) + 1):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, limit, n)))
    primes = [n for n in range(limit) if sieve[n]]
    return len(primes), primes[-3:]
