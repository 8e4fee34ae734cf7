"""Calls made within a span of OpenTelemetry. It is no dependency, here neither: a module with the form of its API stands for it."""

import asyncio
import contextlib
import contextvars
import sys
import types
import unittest

import belljar

from . import support

SAMPLED, NOT_SAMPLED = 1, 0


class State(dict):
    """A `TraceState`."""

    def to_header(self):
        return ",".join(f"{name}={value}" for name, value in self.items())


class Span:
    """A span, of which only its context is asked."""

    def __init__(self, trace_id, span_id, flags, state=()):
        self.is_valid = trace_id != 0 and span_id != 0
        self.trace_id, self.span_id, self.trace_flags, self.trace_state = trace_id, span_id, flags, State(state)

    def get_span_context(self):
        return self


_active = contextvars.ContextVar("active", default=Span(0, 0, NOT_SAMPLED))


@contextlib.contextmanager
def active(*span):
    """Makes a span the active one."""
    token = _active.set(Span(*span))
    try:
        yield
    finally:
        _active.reset(token)


@contextlib.contextmanager
def opentelemetry():
    """A program that has imported it."""
    api = types.ModuleType("opentelemetry.trace")
    api.get_current_span = _active.get
    sys.modules[api.__name__] = api
    try:
        yield
    finally:
        del sys.modules[api.__name__]


def hexadecimal(number):
    return format(number, "032x")


class Traces(unittest.TestCase):
    """The service keeps the trace of what a client sends with a span that is sampled."""

    @classmethod
    def setUpClass(cls):
        # Nobody need be there to take the spans.
        cls.service = support.Service("--otlp-endpoint", "http://127.0.0.1:1")
        cls.addClassCleanup(cls.service.stop)

    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        stack.enter_context(opentelemetry())
        self.executor = belljar.Executor(self.service.url, runtime="native")
        self.addCleanup(self.executor.shutdown)

    def trace(self, future):
        future.result(30)
        return future.record().trace_id

    def test_each_call_has_the_trace_of_its_span(self):
        futures = []
        # The first calls go by the loop in batches, the last ones, each alone, by the thread that makes them.
        for number in range(1, 7):
            with active(number, 7, SAMPLED, {"vendor": "1"}):
                futures.append(self.executor.submit(pow, 2, number))
                if number > 3:
                    futures[-1].result(30)
        self.assertEqual([self.trace(future) for future in futures], [hexadecimal(number) for number in range(1, 7)])

    def test_all_of_a_map_have_the_same(self):
        with active(1 << 127, 7, SAMPLED):
            futures = [self.executor.submit(pow, 2, number) for number in range(5)]
        self.assertEqual({self.trace(future) for future in futures}, {hexadecimal(1 << 127)})

    def test_a_call_that_waits_for_another_has_that_of_where_it_was_made(self):
        with active(3, 7, SAMPLED):
            first = self.executor.submit(pow, 2, 3)
        with active(4, 7, SAMPLED):
            second = self.executor.submit(pow, first, 2)
        self.assertEqual((self.trace(second), second.result()), (hexadecimal(4), 64))

    def test_the_asynchronous_executor_sends_it_too(self):
        async def call():
            async with belljar.AsyncExecutor(self.service.url, runtime="native") as executor:
                with active(5, 7, SAMPLED):
                    future = executor.submit(pow, 2, 3)
                await future
                return (await future.record()).trace_id

        self.assertEqual(asyncio.run(call()), hexadecimal(5))

    def test_without_a_span_that_is_sampled_there_is_none(self):
        with active(6, 7, NOT_SAMPLED):
            unsampled = self.executor.submit(pow, 2, 3)
        without = self.executor.submit(pow, 2, 3)
        self.assertEqual([self.trace(future) for future in (unsampled, without)], [None, None])
