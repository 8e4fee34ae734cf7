"""Maps memory that is executable. What it imports is not to be seen at registration.

args: ((), {})
native: unsafe
sandbox: raises OSError containing cannot map files
"""


def map_memory():
    import importlib

    mmap = importlib.import_module("m" + "map")
    return mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC).size()
