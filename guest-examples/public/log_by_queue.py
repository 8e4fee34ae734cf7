"""Logs through a queue and a formatter with the name of the process.

args: ((["started", "ended"],), {})
native: value 'WARNING MainProcess started\nWARNING MainProcess ended\n'
sandbox: same
reported: https://github.com/python/cpython/issues/113692: a test of `logging` failed, which takes `multiprocessing` for granted
"""


def log_by_queue(lines):
    import io
    import logging
    import logging.handlers
    import queue

    written, waiting = io.StringIO(), queue.Queue()
    logger = logging.Logger("towns")
    logger.addHandler(logging.handlers.QueueHandler(waiting))
    for line in lines:
        logger.warning(line)
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(processName)s %(message)s"))
    while not waiting.empty():
        handler.handle(waiting.get())
    return written.getvalue()
