"""Finds what failed, and how often, in a log by regular expressions.

args: (("12:00 GET /a 200\n12:01 GET /b 500\n12:02 POST /b 500\n12:03 GET /a?x=1 404\n",), {})
native: value [('/b', 2), ('/a', 1)]
sandbox: same
"""


def scan_log(text):
    import collections
    import re

    line = re.compile(r"^(?P<at>[\d:]+) (?P<method>[A-Z]+) (?P<path>[^\s?]+)\S* (?P<status>\d{3})$", re.M)
    failed = collections.Counter(found["path"] for found in line.finditer(text) if found["status"] >= "400")
    return failed.most_common()
