"""What Pillow gives natively and in the sandbox: see record.py."""

EXPRESSIONS = r"""
PIL.__version__, [features.check(name) for name in ("pil", "freetype2", "jpg", "zlib")]
picture.mode, picture.size, digest(picture), picture.getpixel((10, 20)), picture.getextrema(), picture.convert("L").histogram()[:8]
[digest(picture.convert(mode)) for mode in ("1", "L", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F")], digest(picture.quantize(16).convert("RGB"))
[(name, back.mode, back.size, digest(back)) for name in ("PNG", "BMP", "GIF", "TIFF", "PPM", "TGA", "ICO", "PCX", "SGI", "QOI") for back in [saved(picture, name)]]
[digest(saved(picture, "JPEG", quality=quality, **more)) for quality, more in ((75, {}), (95, {"subsampling": 0}), (10, {"progressive": True}), (50, {"optimize": True}))]
[digest(saved(picture.convert(mode), "JPEG")) for mode in ("L", "CMYK")], [part.size for part in [saved(picture, "JPEG")] for _ in [part.draft("RGB", (20, 20))]]
len(encoded(picture, "JPEG")), len(encoded(picture, "PNG")) > 100, encoded(picture, "JPEG")[:4], encoded(picture, "PNG", optimize=True)[:8]
saved(picture, "JPEG", dpi=(72, 72), comment=b"hello", exif=exif()).info["comment"], dict(saved(picture, "JPEG", exif=exif()).getexif()), saved(picture, "PNG", pnginfo=note()).text
[digest(picture.resize((31, 17), method)) for method in range(6)], digest(picture.reduce(3)), [(small := picture.copy()).thumbnail((20, 20)), small.size, digest(small)][1:]
digest(picture.rotate(33, expand=True, resample=Image.Resampling.BICUBIC)), digest(picture.transpose(Image.Transpose.ROTATE_90)), digest(picture.crop((5, 6, 30, 40))), digest(picture.transform((40, 40), Image.Transform.AFFINE, (1, .2, 3, .1, 1, 4)))
[digest(picture.filter(one)) for one in (ImageFilter.BLUR, ImageFilter.GaussianBlur(2), ImageFilter.FIND_EDGES, ImageFilter.UnsharpMask(), ImageFilter.MedianFilter(3), ImageFilter.BoxBlur(2), ImageFilter.RankFilter(3, 2), ImageFilter.ModeFilter(3))]
[digest(one(picture)) for one in (ImageOps.grayscale, ImageOps.invert, ImageOps.autocontrast, ImageOps.equalize, ImageOps.mirror, ImageOps.solarize)], digest(ImageOps.fit(picture, (20, 30))), digest(ImageEnhance.Color(picture).enhance(.5))
[digest(one(picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))) for one in (ImageChops.add, ImageChops.difference, ImageChops.multiply, ImageChops.screen, ImageChops.lighter)], digest(Image.blend(picture, picture.rotate(180), .3))
digest(drawn(lambda draw: draw.line([(2, 3), (60, 40), (20, 50)], "red", width=3, joint="curve"))), digest(drawn(lambda draw: draw.polygon([(5, 5), (40, 10), (20, 45)], "#1f77b4", "black")))
digest(drawn(lambda draw: draw.ellipse((5, 5, 50, 40), fill=(1, 2, 3), outline="white", width=2))), digest(drawn(lambda draw: draw.rounded_rectangle((5, 5, 50, 40), 8, "green"))), digest(drawn(lambda draw: draw.pieslice((5, 5, 50, 40), 30, 200, "blue")))
digest(Image.alpha_composite(picture.convert("RGBA"), Image.new("RGBA", picture.size, (10, 20, 30, 99)))), digest(Image.composite(picture, picture.rotate(90), picture.convert("L"))), digest(Image.merge("RGB", picture.split()[::-1]))
np.asarray(picture).shape, int(np.asarray(picture, dtype=int).sum()), digest(Image.fromarray(np.arange(300, dtype="u1").reshape(10, 10, 3))), digest(Image.fromarray(np.asarray(picture)[::2]))
[digest(saved(picture, "TIFF", compression=name)) for name in (None, "raw")], [frame.size for frame in ImageSequence.Iterator(saved(picture, "GIF", save_all=True, append_images=[picture.rotate(9), picture.rotate(18)], duration=50))]
ImageStat.Stat(picture).mean, ImageStat.Stat(picture).median, picture.entropy(), picture.getbbox(), picture.getcolors(10), ImageColor.getrgb("hsl(120, 50%, 25%)"), ImageMath.lambda_eval(lambda names: names["a"] + 1, a=picture.convert("L")).getpixel((3, 3))
font.getname(), font.getlength("Chart"), font.getbbox("Chart, 12 €"), ImageFont.load_default(200).getbbox("Wide"), font.getmetrics(), font.getmask("A").size
digest(drawn(lambda draw: draw.text((3, 3), "Chart", "white", font=font))), big().getbbox(), bool(np.asarray(big()).any()), drawn(lambda draw: draw.multiline_text((3, 3), "a\nb", font=font)).getbbox()
refused(b"no picture"), refused(encoded(picture, "JPEG")[:2] + b"\xff\xc0\0\x0b\x08\0\0\0\0\1\1\x11\0")
cut(encoded(picture, "JPEG")[:700])
Image.open(io.BytesIO(encoded(picture, "PNG")[:900])).load()
Image.open(io.BytesIO(encoded(picture, "GIF")[:900])).load()
Image.open(io.BytesIO(damaged(picture, "PNG"))).load()
Image.open(io.BytesIO(unknown_tables(picture))).load()
picture.save(io.BytesIO(), "JPEG", quality=50, qtables=[[0] * 3])
Image.new("RGB", (70000, 1)).save(io.BytesIO(), "JPEG")
Image.new("P", (5, 5)).save(io.BytesIO(), "JPEG"), Image.new("RGBA", (5, 5)).save(io.BytesIO(), "JPEG")
ImageFont.truetype(io.BytesIO(b"no font"))
[opened(font_bytes()).getbbox("Ag"), [broken(at) for at in range(0, 3000, 97)]]
bomb()
"""


def f():
    import hashlib, io, struct, warnings

    import numpy as np
    import PIL
    from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageEnhance, ImageFile, ImageFilter, ImageFont, ImageMath, ImageOps, ImageSequence, ImageStat, PngImagePlugin, features

    warnings.simplefilter("ignore")
    line, column = np.mgrid[0:64, 0:64]
    picture = Image.fromarray(np.stack([line * 4 % 256, column * 3 % 256, line * column % 256], axis=2).astype("u1"))
    font = ImageFont.load_default(20)
    font = font.font_variant(layout_engine=ImageFont.Layout.BASIC)

    def digest(image):
        return hashlib.sha256(image.tobytes()).hexdigest()[:12]

    def encoded(image, name, **more):
        image.save(file := io.BytesIO(), name, **more)
        return file.getvalue()

    def saved(image, name, **more):
        return Image.open(io.BytesIO(encoded(image, name, **more)))

    def exif():
        more = Image.Exif()
        more[271] = "belljar"
        return more

    def note():
        more = PngImagePlugin.PngInfo()
        more.add_text("Title", "Köln")
        return more

    def drawn(draw):
        image = Image.new("RGB", (64, 64))
        draw(ImageDraw.Draw(image))
        return image

    def big():
        # More outlines than the rasteriser has cells for at once.
        image = Image.new("L", (1500, 700))
        ImageDraw.Draw(image).text((0, 0), "@&%", 255, font=font.font_variant(size=600))
        return image

    def damaged(image, name):
        content = bytearray(encoded(image, name))
        content[len(content) // 2] ^= 0xFF
        return bytes(content)

    def unknown_tables(image):
        # The scan names a Huffman table that there is none of.
        content = bytearray(encoded(image, "JPEG"))
        at = content.index(b"\xff\xda")
        content[at + 6] = 0x33
        return bytes(content)

    def font_bytes():
        font.font_bytes.seek(0) if hasattr(font.font_bytes, "seek") else None
        return font.font_bytes

    def opened(content):
        return ImageFont.truetype(io.BytesIO(content), 20, layout_engine=ImageFont.Layout.BASIC)

    def broken(at):
        content = bytearray(font_bytes())
        content[at : at + 8] = b"\xff" * 8
        try:
            return len(opened(bytes(content)).getbbox("Ag"))
        except OSError:
            return "OSError"

    def refused(content):
        try:
            Image.open(io.BytesIO(content))
        except Exception as error:
            return type(error).__name__

    def cut(content):
        # How many bytes are left depends on how far a decoder reads ahead.
        try:
            Image.open(io.BytesIO(content)).load()
        except OSError as error:
            return str(error).partition("(")[0]

    def bomb():
        content = bytearray(encoded(picture, "BMP"))
        content[18:26] = struct.pack("<ii", 20_000, 20_000)
        Image.open(io.BytesIO(bytes(content)))

    return answers(EXPRESSIONS, {**globals(), **locals()})
