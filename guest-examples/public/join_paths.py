"""Takes paths apart and puts them together again.

args: ((["data", "2024", "towns.csv"],), {})
native: value ('data/2024/towns.csv', 'towns', '.csv', 'data/2024/towns.json', 'a', '/')
sandbox: same
reported: https://github.com/RustPython/RustPython/issues/7363: there was no module `os`, and so no `os.path.join`
"""


def join_paths(parts):
    import os
    import pathlib

    path = os.path.join(*parts)
    stem, suffix = os.path.splitext(os.path.basename(path))
    return path, stem, suffix, str(pathlib.PurePath(path).with_suffix(".json")), os.fspath(pathlib.Path("a")), os.sep
