"""Loads something in a thread and waits for it.

args: ((["a", "b"],), {})
native: value {'a': 'A', 'b': 'B'}
sandbox: raises RuntimeError containing can't start new thread
reported: https://github.com/jacksonllee/pycantonese/issues/52: reading its data raised "can't start new thread"
"""


def load_in_thread(names):
    import threading

    loaded = {}
    thread = threading.Thread(target=lambda: loaded.update((name, name.upper()) for name in names))
    thread.start()
    thread.join()
    return loaded
