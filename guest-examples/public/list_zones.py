"""Counts the time zones that are known and says how far from UTC some are.

args: ((["Europe/Zurich", "Asia/Kolkata", "America/New_York"],), {})
native: value (True, [1.0, 5.5, -5.0])
sandbox: same
reported: https://github.com/cloudflare/workerd/issues/1972: `zoneinfo.available_timezones()` was empty, and each zone unknown
"""


def list_zones(names):
    import zoneinfo
    from datetime import datetime

    hours = [datetime(2024, 1, 15, tzinfo=zoneinfo.ZoneInfo(name)).utcoffset().total_seconds() / 3600 for name in names]
    return len(zoneinfo.available_timezones()) > 400, hours
