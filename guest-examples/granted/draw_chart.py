"""Draws a chart of bars as a PNG, without a package for it, and leaves it as a file.

args: (([3, 1, 2], "chart.png"), {})
with: {"outputs": ["*.png"]}
native: value (70, 34)
sandbox: same
"""


def draw_chart(values, name):
    import struct
    import zlib

    bar, gap, scale = 20, 2, 10
    width, height = len(values) * (bar + gap) + 2 * gap, max(values) * scale + 2 * gap
    rows = [bytearray(b"\xff\xff\xff" * width) for _ in range(height)]
    for place, value in enumerate(values):
        left = gap + place * (bar + gap)
        for row in rows[height - gap - value * scale : height - gap]:
            row[3 * left : 3 * (left + bar)] = b"\x1f\x77\xb4" * bar

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    with open(name, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    return width, height
