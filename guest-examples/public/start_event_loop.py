"""Starts an event loop, lets two tasks talk through a queue, and gives up on a third.

args: ((3,), {})
native: value [0, 1, 2, 'timeout']
sandbox: same
reported: https://github.com/dispatchrun/timecraft/pull/187: `asyncio` could not start its loop without `socketpair`
"""


def start_event_loop(count):
    import asyncio

    async def produce(queue):
        for number in range(count):
            await queue.put(number)
            await asyncio.sleep(0.001)
        await queue.put(None)

    async def consume(queue):
        found = []
        while (number := await queue.get()) is not None:
            found.append(number)
        return found

    async def main():
        queue = asyncio.Queue(1)
        _, found = await asyncio.gather(produce(queue), consume(queue))
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        except asyncio.TimeoutError:
            found.append("timeout")
        return found

    return asyncio.run(main())
