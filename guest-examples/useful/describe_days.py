"""Describes the gaps between dates: datetime and statistics.

args: ((["2024-01-31", "2024-02-29", "2024-03-31", "2024-12-24"],), {})
native: value {'gaps': [29, 31, 268], 'mean': 109.33, 'median': 31, 'weekdays': ['Wed', 'Thu', 'Sun', 'Tue']}
sandbox: same
"""


def describe_days(texts):
    import statistics
    from datetime import date

    days = [date.fromisoformat(text) for text in texts]
    gaps = [(later - earlier).days for earlier, later in zip(days, days[1:])]
    return {
        "gaps": gaps,
        "mean": round(statistics.mean(gaps), 2),
        "median": statistics.median(gaps),
        "weekdays": [day.strftime("%a") for day in days],
    }
