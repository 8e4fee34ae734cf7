"""Compresses by lzma and by bz2, in a file and in memory.

args: (("towns " * 1000,), {})
native: value (True, True, True)
sandbox: same
reported: https://github.com/PySport/kloppy/issues/370: `import lzma` failed: it is not part of that standard library
"""


def compress_by_lzma(text):
    import bz2
    import lzma
    import tempfile

    data = text.encode()
    with tempfile.TemporaryFile() as file:
        with lzma.open(file, "w") as packed:
            packed.write(data)
        file.seek(0)
        with lzma.open(file) as packed:
            same = packed.read() == data
    return same, len(lzma.compress(data)) < 200, bz2.decompress(bz2.compress(data)) == data
