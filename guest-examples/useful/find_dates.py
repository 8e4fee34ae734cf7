"""Finds dates in a text with a regular expression and writes them the other way round.

args: (("from 2024-02-29 to 2024-03-01, not 2024-3-1",), {})
native: value ['29.02.2024', '01.03.2024']
sandbox: same
"""


def find_dates(text):
    import re

    found = re.finditer(r"\b(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)\b", text)
    return [match.expand(r"\g<day>.\g<month>.\g<year>") for match in found]
