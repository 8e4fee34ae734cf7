"""Gives the parts of a text to a pool of threads.

args: ((["one", "three"],), {})
native: value [3, 5]
sandbox: raises RuntimeError containing can't start new thread
reported: https://github.com/rany2/edge-tts/issues/243: `ThreadPoolExecutor.submit` raised "can't start new thread"
"""


def fetch_in_pool(parts):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(len, parts))
