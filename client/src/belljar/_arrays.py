"""Pickles of values that may have arrays in them: their content is copied once, and nobody looks through it."""

from __future__ import annotations

import pickle
import sys
from typing import Any

# dill's own default, which every Python 3 reads.
PROTOCOL = 4
# With this one arrays are written as they are, not made into bytes objects first.
ARRAY_PROTOCOL = 5
_SMALL_BYTES = 64 * 1024


def dump_probe(value: Any) -> tuple[bytes, bool]:
    """A pickle, and whether the content of arrays is left out of it. What it names can be told without that; the whole one is
    made by `ARRAY_PROTOCOL`."""
    if "numpy" not in sys.modules:
        return pickle.dumps(value, PROTOCOL), False
    arrays: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, ARRAY_PROTOCOL, buffer_callback=arrays.append)
    if arrays or len(pickled) >= _SMALL_BYTES:
        return pickled, bool(arrays)
    return pickle.dumps(value, PROTOCOL), False
