"""Makes an event of a calendar by a class that looks up time zones when it is defined.

args: (("2024-03-31T01:30:00", 1), {})
native: value '2024-03-31T03:30:00+02:00'
sandbox: same
reported: https://github.com/collective/icalendar/issues/1073: the import failed, since its classes look up time zones
"""


def plan_events(start, hours):
    import zoneinfo
    from datetime import datetime, timedelta

    class Calendar:
        utc = zoneinfo.ZoneInfo("UTC")
        zone = zoneinfo.ZoneInfo("Europe/Berlin")

        def plan(self, start, hours):
            begin = datetime.fromisoformat(start).replace(tzinfo=self.zone)
            end = begin.astimezone(self.utc) + timedelta(hours=hours)
            return end.astimezone(self.zone).isoformat()

    return Calendar().plan(start, hours)
