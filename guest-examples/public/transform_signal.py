"""Finds the strongest frequency of a signal by numpy's Fourier transform. The interpreters of the tests have numpy in the sandbox only.

args: ((64, 5), {})
native: unsafe
sandbox: value (5, 32.0)
reported: https://github.com/dicej/wasi-wheels/issues/4: `import numpy` failed in another WASI build of CPython than the one it was built for
"""


def transform_signal(count, frequency):
    import numpy as np

    time = np.arange(count) / count
    strengths = np.abs(np.fft.rfft(np.sin(2 * np.pi * frequency * time)))
    return int(strengths.argmax()), round(float(strengths.max()), 6)
