"""Smooths a series with a rolling window of pandas, and by a weighted one. The interpreters of the tests have pandas in the sandbox only.

args: (([1, 2, 6, 4, 5],), {})
native: unsafe
sandbox: value ([-1.0, -1.0, 3.0, 4.0, 5.0], [1.0, 1.75, 4.692, 4.225, 4.744])
sandbox-3.13: refused pandas
reported: https://github.com/dicej/wasi-wheels/issues/7: pandas did not link: its windows needed exceptions of C++
"""


def smooth_series(values):
    import pandas as pd

    series = pd.Series(values)
    return series.rolling(3).mean().round(3).fillna(-1).tolist(), series.ewm(span=2).mean().round(3).tolist()
