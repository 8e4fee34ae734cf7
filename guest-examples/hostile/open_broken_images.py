"""Opens images and a font of which each time another place is overwritten, and others cut short: errors of Python, or pictures.

args: ((), {})
native: unsafe
sandbox: value ['OSError', 'ValueError', 'read']
sandbox-3.13: refused PIL
limits: timeout_s=60 memory_mb=256
"""


def open_broken_images():
    import io
    import random

    from PIL import Image, ImageFont

    picture = Image.effect_noise((48, 48), 80).convert("RGB")
    ways = [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("GIF", {}), ("BMP", {}), ("TIFF", {}), ("ICO", {}), ("PCX", {}), ("SGI", {}), ("TGA", {"compression": "tga_rle"})]
    chance, ends = random.Random(1), set()

    def attempt(use, content):
        try:
            use(io.BytesIO(content))
            ends.add("read")
        except OSError:  # UnidentifiedImageError is one.
            ends.add("OSError")
        except (SyntaxError, ValueError) as error:
            ends.add(type(error).__name__)
        except (EOFError, IndexError, TypeError, OverflowError, KeyError, MemoryError, Image.DecompressionBombError):
            pass

    for name, more in ways:
        picture.save(file := io.BytesIO(), name, **more)
        for _ in range(60):
            content = bytearray(file.getvalue())
            at = chance.randrange(min(len(content), chance.choice((64, 1024, 1 << 20))))
            content[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", chance.randbytes(4), b""))
            attempt(lambda given: Image.open(given).load(), bytes(content[: chance.choice((len(content), at + 5))]))
    font = ImageFont.load_default(20).font_bytes
    font = font.getvalue() if hasattr(font, "getvalue") else font
    for _ in range(150):
        content = bytearray(font)
        at = chance.randrange(chance.choice((400, len(content))))
        content[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", chance.randbytes(4)))
        attempt(lambda given: ImageFont.truetype(given, 40).getmask("Chart @&%"), bytes(content))
    return sorted(ends)
