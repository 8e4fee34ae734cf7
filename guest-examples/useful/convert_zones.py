"""Says what time a meeting is at in other places, summer time included.

args: (("2024-07-01 15:00", "Europe/Zurich", ["Asia/Tokyo", "America/New_York", "UTC"]), {})
native: value {'Asia/Tokyo': '2024-07-01 22:00', 'America/New_York': '2024-07-01 09:00', 'UTC': '2024-07-01 13:00'}
sandbox: same
"""


def convert_zones(when, here, places):
    from datetime import datetime
    from zoneinfo import ZoneInfo

    meeting = datetime.fromisoformat(when).replace(tzinfo=ZoneInfo(here))
    return {place: meeting.astimezone(ZoneInfo(place)).strftime("%Y-%m-%d %H:%M") for place in places}
