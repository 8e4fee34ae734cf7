"""Asks a JSON API three things at once, by `asyncio.gather`, and gives up on all together after a while.

args: (("{api}", [30, 100, 150]), {})
with: {"grants": {"http": ["GET {api}/towns"]}}
native: value {30: ['Basel', 'Bern', 'Chur'], 100: ['Basel', 'Bern'], 150: ['Basel']}
sandbox: same
"""


def gather_requests(api, numbers):
    import asyncio
    import json
    import urllib.request

    def ask(least):
        with urllib.request.urlopen(f"{api}/towns?least={least}") as answer:
            return sorted(town["name"] for town in json.load(answer))

    async def ask_all():
        answers = asyncio.gather(*(asyncio.to_thread(ask, least) for least in numbers))
        return dict(zip(numbers, await asyncio.wait_for(answers, 10)))

    return asyncio.run(ask_all())
