"""Runs coroutines one after the other, by a runner as a test framework does, and each in a loop of its own.

args: ((3,), {})
native: value ([0, 1, 4], [0, 1, 4])
sandbox: same
reported: https://github.com/pytest-dev/pytest-asyncio/issues/1333: "Runner.run() cannot be called from a running event loop"
"""


def run_several_loops(count):
    import asyncio

    async def square(number):
        await asyncio.sleep(0)
        return number**2

    with asyncio.Runner() as runner:
        ran = [runner.run(square(number)) for number in range(count)]
    return ran, [asyncio.run(square(number)) for number in range(count)]
