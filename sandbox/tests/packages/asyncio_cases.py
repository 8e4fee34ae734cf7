"""What asyncio does natively and in the sandbox: see record.py."""


def f():
    import asyncio
    import concurrent.futures

    said = {}

    async def nap(value, seconds=0.0):
        await asyncio.sleep(seconds)
        return value

    async def fail():
        raise ValueError("x")

    async def main():
        said["gather in order"] = await asyncio.gather(nap(1, 0.03), nap(2, 0.01), nap(3))
        said["gather with errors"] = [repr(item) for item in await asyncio.gather(nap(1), fail(), return_exceptions=True)]
        said["as completed"] = [await task for task in asyncio.as_completed([nap(1, 0.1), nap(2, 0.01)])]
        try:
            async with asyncio.timeout(0.02):
                await asyncio.sleep(60)
        except TimeoutError:
            said["timeout"] = True
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        except asyncio.TimeoutError:
            said["wait_for"] = True
        queue, got = asyncio.Queue(2), []

        async def produce():
            for item in range(10):
                await queue.put(item)
            await queue.put(None)

        async def consume():
            while (item := await queue.get()) is not None:
                got.append(item)

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            group.create_task(consume())
        said["queue"] = got
        try:
            async with asyncio.TaskGroup() as group:
                slow = group.create_task(nap(1, 60))
                group.create_task(fail())
        except* ValueError as errors:
            said["task group"] = [repr(error) for error in errors.exceptions] + [slow.cancelled()]
        lock, semaphore, event = asyncio.Lock(), asyncio.Semaphore(2), asyncio.Event()
        async with lock, semaphore:
            said["locked"] = lock.locked()
        asyncio.get_running_loop().call_later(0.01, event.set)
        said["event"] = await event.wait()
        loop = asyncio.get_running_loop()
        said["to_thread"] = await asyncio.to_thread(sum, [1, 2])
        said["executor"] = await loop.run_in_executor(None, lambda: 7)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            said["pool"] = await loop.run_in_executor(pool, divmod, 7, 2)
        try:
            await asyncio.to_thread(divmod, 1, 0)
        except ZeroDivisionError as error:
            said["error of a thread"] = str(error)
        done, pending = await asyncio.wait([asyncio.ensure_future(nap(1)), asyncio.ensure_future(nap(2, 60))],
                                           return_when=asyncio.FIRST_COMPLETED)
        said["wait"] = [len(done), len(pending)]
        for task in pending:
            task.cancel()

        async def count():
            for item in range(3):
                yield item
                await asyncio.sleep(0)

        said["generator"] = [item async for item in count()]
        task = asyncio.create_task(nap(1, 60))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            said["cancelled"] = True
        return "done"

    said["run"] = asyncio.run(main())
    with asyncio.Runner() as runner:
        said["runner"] = [runner.run(nap(item)) for item in range(2)]
    loop = asyncio.new_event_loop()
    said["own loop"] = loop.run_until_complete(nap(5))
    loop.close()
    try:
        loop.run_until_complete(nap(5))
    except RuntimeError as error:
        said["closed"] = str(error)
    return said
