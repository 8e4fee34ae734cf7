"""Draws a chart of bars with its labels as a PNG, by Pillow, which the interpreters of the tests have in the sandbox only.

args: (({"Bonn": 4.5, "Köln": 11, "Ulm": 7}, 320, 200), {})
native: unsafe
sandbox: value {'signature': b'\x89PNG', 'size': (320, 200), 'heights': [66, 162, 103], 'has labels': True}
sandbox-3.13: refused PIL
"""


def plot_bars(values, width, height):
    import io

    from PIL import Image, ImageDraw, ImageFont

    chart = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(chart), ImageFont.load_default(14)
    base, step, most = height - 22, width // len(values), max(values.values())
    for place, (name, value) in enumerate(values.items()):
        middle = place * step + step // 2
        draw.rectangle((middle - 20, base - round(value / most * (height - 38)) + 1, middle + 20, base), fill="#1f77b4")
        draw.text((middle, height - 10), name, "black", font=font, anchor="mm")
    chart.save(file := io.BytesIO(), "PNG")

    read = Image.open(io.BytesIO(file.getvalue()))
    columns = [[read.getpixel((place * step + step // 2, line)) for line in range(base + 1)] for place in range(len(values))]
    return {
        "signature": file.getvalue()[:4],
        "size": read.size,
        "heights": [column.count((0x1F, 0x77, 0xB4)) for column in columns],
        "has labels": len(read.crop((0, base + 1, width, height)).getcolors(1000)) > 10,
    }
