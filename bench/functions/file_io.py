"""Writes a file, syncs it, reads it back. Native only: the sandbox has no files."""


def file_io(n):
    import os
    import tempfile

    with tempfile.TemporaryFile() as file:
        for block in range(64):
            file.write(bytes([(n + block) % 256]) * 4096)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        return sum(file.read()) + n
