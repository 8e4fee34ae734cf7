"""An event loop for a place without sockets, threads and signals: timers, tasks and what is made of them.

CPython's own loop wakes itself through a pair of sockets, which the guest has not. Nothing can wake this one
from outside, so it needs none: it sleeps until its next timer. Where there is none, it would sleep
without end: that is an error, and is raised.
"""

import asyncio
import time
from asyncio import base_events, events
from concurrent.futures import ThreadPoolExecutor

import belljar_limits

_DEADLOCK = "deadlock: every task of this event loop waits for another one, and no timer is set"


class _Clock:
    """What `BaseEventLoop` takes for its selector."""

    def select(self, timeout):
        if timeout is None:
            raise RuntimeError(_DEADLOCK)
        if timeout > 0:
            time.sleep(timeout)
        return ()

    def close(self):
        pass


class Loop(base_events.BaseEventLoop):
    """Made by `asyncio.run` and `asyncio.new_event_loop`."""

    def __init__(self):
        super().__init__()
        self._selector = _Clock()

    def _process_events(self, event_list):
        pass

    def _write_to_self(self):
        pass

    def run_in_executor(self, executor, func, *args):
        """Runs `func` at once, in place of a pool of threads: there is one thread."""
        self._check_closed()
        if executor is not None and not isinstance(executor, ThreadPoolExecutor):
            return super().run_in_executor(executor, func, *args)
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    async def create_server(self, *args, **kwargs):
        """Without this, a server in 3.11 that listens nowhere: CPython passes over each address that gives no socket."""
        belljar_limits.no_network()

    def add_signal_handler(self, sig, callback, *args):
        raise NotImplementedError("the sandbox has no signals")

    def remove_signal_handler(self, sig):
        raise NotImplementedError("the sandbox has no signals")

    async def shutdown_default_executor(self, timeout=None):
        pass


class Policy(events.BaseDefaultEventLoopPolicy):
    _loop_factory = Loop


asyncio.set_event_loop_policy(Policy())
