"""Keeps values on a shelf, a dictionary in a file, and reads them back from there.

args: (({"tea": [1, 2], "cake": {"sugar": None}},), {})
native: value ({'cake': {'sugar': None}, 'tea': [1, 2]}, 30)
sandbox: same
"""


def keep_on_shelf(values):
    import os
    import shelve
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "shelf")
        with shelve.open(path) as shelf:
            shelf.update(values)
        with shelve.open(path) as shelf:
            kept = dict(sorted(shelf.items()))
        # Room for what comes later.
        with open(os.path.join(folder, "room"), "wb") as file:
            os.posix_fallocate(file.fileno(), 10, 20)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            return kept, os.fstat(file.fileno()).st_size
