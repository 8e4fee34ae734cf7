"""Computes a number of 18 million digits in one call into C, where no signal is looked at.

args: ((), {})
native: raises TimeoutError containing 500ms
sandbox: same
limits: timeout_s=0.5 memory_mb=128
"""


def compute_huge_power():
    return (9 ** (9**7 * 4)).bit_length()
