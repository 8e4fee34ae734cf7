"""Compresses with zlib and gzip, and gets back what went in.

args: (("to be or not to be ", 500), {})
native: value (9500, True, True, True)
sandbox: same
"""


def compress_text(text, times):
    import gzip
    import zlib

    data = text.encode() * times
    deflated, zipped = zlib.compress(data, 9), gzip.compress(data, mtime=0)
    small = max(len(deflated), len(zipped)) < 150
    return len(data), small, zlib.decompress(deflated) == data, gzip.decompress(zipped) == data
