"""Asks a JSON API, of the one host that the call is granted, and sums up what it says.

args: (("{api}", 100), {})
with: {"grants": {"http": ["GET {api}/towns"]}}
native: value {'towns': ['Basel', 'Bern'], 'people': 308, 'refused': True}
sandbox: same
"""


def call_json_api(api, least):
    import json
    import urllib.error
    import urllib.request

    with urllib.request.urlopen(f"{api}/towns?least={least}") as answer:
        towns = json.load(answer)
    try:
        urllib.request.urlopen(f"{api}/secrets").close()
        refused = False
    except (urllib.error.HTTPError, OSError):
        refused = True
    return {"towns": sorted(town["name"] for town in towns), "people": sum(town["people"] for town in towns), "refused": refused}
