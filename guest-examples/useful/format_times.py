"""Writes times as people do, by formats that Linux has.

args: (([0, 9, 12, 17],), {})
native: value [' 0h 12 am', ' 9h  9 am', '12h 12 pm', '17h  5 pm']
sandbox: same
"""


def format_times(hours):
    from datetime import datetime

    return [datetime(2024, 2, 29, hour).strftime("%kh %l %P") for hour in hours]
