"""Makes a stamp of a time in UTC by the name of that zone.

args: ((1700000000,), {})
native: value '2023-11-14T22:13:20+00:00'
sandbox: same
reported: https://github.com/posit-dev/shinylive/issues/28: `ZoneInfo("UTC")` raised ZoneInfoNotFoundError
"""


def stamp_in_utc(seconds):
    from datetime import datetime
    from zoneinfo import ZoneInfo

    return datetime.fromtimestamp(seconds, ZoneInfo("UTC")).isoformat()
