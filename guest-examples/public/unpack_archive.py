"""Unpacks a tar archive, with the times and modes of its files.

args: (("run.sh", 1041808783), {})
native: value (True, 'ls\n')
sandbox: same
reported: https://github.com/python/cpython/issues/120371: `os.chmod` raised OSError in `tarfile`, and files had another time
"""


def unpack_archive(name, modified):
    import io
    import os
    import tarfile
    import tempfile

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime, entry.mode = 3, modified, 0o755
        archive.addfile(entry, io.BytesIO(b"ls\n"))
    packed.seek(0)
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=packed) as archive:
        archive.extractall(folder)
        path = os.path.join(folder, name)
        return os.path.getmtime(path) == modified, open(path).read()
