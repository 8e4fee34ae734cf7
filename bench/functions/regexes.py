"""Regular expressions: found and substituted."""


def regexes(n):
    import re

    text = f"alpha-12 beta-345 gamma-{n} " * 6_000
    return len(re.findall(r"([a-z]+)-(\d+)", text)) + len(re.sub(r"\d+", "#", text)) + n
