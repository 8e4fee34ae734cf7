"""Writes a module beside itself, imports it and calls it.

args: ((21,), {})
native: value 42
sandbox: same
reported: https://github.com/RustPython/RustPython/issues/5058: a module beside the program could not be imported
"""


def import_neighbour(number):
    import importlib
    import pathlib
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "neighbour_of_it.py").write_text("def twice(number):\n    return 2 * number\n")
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
        try:
            import neighbour_of_it

            return neighbour_of_it.twice(number)
        finally:
            sys.path.remove(folder)
