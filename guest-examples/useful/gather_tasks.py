"""Waits for several things at once and gives up on those that take too long.

args: (({"fast": 0.0, "slow": 30.0, "medium": 0.02}, 0.5), {})
native: value {'fast': 'done', 'slow': 'timeout', 'medium': 'done'}
sandbox: same
"""


def gather_tasks(delays, limit):
    import asyncio

    async def fetch(delay):
        await asyncio.sleep(delay)
        return "done"

    async def within(delay):
        try:
            return await asyncio.wait_for(fetch(delay), limit)
        except asyncio.TimeoutError:
            return "timeout"

    async def all_of_them():
        return dict(zip(delays, await asyncio.gather(*map(within, delays.values()))))

    return asyncio.run(all_of_them())
