"""Runs blocking functions beside an event loop, by `asyncio.to_thread` and an executor.

args: ((["one", "three"],), {})
native: value ([3, 5], 3)
sandbox: same
reported: https://github.com/pyodide/pyodide/issues/237: threads are not supported
"""


def work_beside_loop(parts):
    import asyncio

    async def lengths():
        loop = asyncio.get_running_loop()
        first = asyncio.gather(*(asyncio.to_thread(len, part) for part in parts))
        return await first, await loop.run_in_executor(None, sum, [1, 2])

    return asyncio.run(lengths())
