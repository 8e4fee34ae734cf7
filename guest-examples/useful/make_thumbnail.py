"""Makes a thumbnail of a JPEG by Pillow, which the interpreters of the tests have in the sandbox only.

args: ((), {})
native: unsafe
sandbox: value {'format': 'JPEG', 'size': (128, 96), 'smaller': True, 'corners': ['red', 'blue']}
sandbox-3.13: refused PIL
"""


def make_thumbnail():
    import io

    from PIL import Image, ImageDraw, ImageOps

    photo = Image.new("RGB", (640, 480), "red")
    ImageDraw.Draw(photo).rectangle((320, 0, 640, 480), fill="blue")
    photo.save(given := io.BytesIO(), "JPEG", quality=90)

    image = ImageOps.exif_transpose(Image.open(given))
    image.thumbnail((128, 128))
    image.save(made := io.BytesIO(), "JPEG", quality=80)

    small = Image.open(made)
    named = ["red" if red > 200 else "blue" if blue > 200 else "?" for red, _, blue in map(small.getpixel, [(2, 2), (125, 93)])]
    return {"format": small.format, "size": small.size, "smaller": made.tell() < given.tell(), "corners": named}
