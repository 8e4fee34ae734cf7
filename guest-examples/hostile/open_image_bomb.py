"""Opens a PNG of a few kilobytes with 400 million pixels: Pillow refuses it, and where it is told not to, memory ends.

args: ((), {})
native: unsafe
sandbox: raises MemoryError
sandbox-3.13: refused PIL
limits: timeout_s=30 memory_mb=128
"""


def open_image_bomb():
    import io
    import struct
    import zlib

    from PIL import Image

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")
    refused = False
    try:
        Image.open(io.BytesIO(bomb))
    except Image.DecompressionBombError:
        refused = True
    if refused:
        Image.MAX_IMAGE_PIXELS = None
        Image.open(io.BytesIO(bomb)).load()
