"""What a call tells while it runs: `progress`, `Future.stream`, `logs --follow`, `run`."""

import asyncio
import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import belljar
from belljar._cli import _live, _table

from . import support

RUNTIMES = ["native", "sandbox"] if support.HAS_SANDBOX else ["native"]


def speak(seconds=60):
    import sys
    import time

    print("first")
    print("wrong", file=sys.stderr)
    belljar.progress(1, 4, "begun")
    time.sleep(seconds)
    return 7


def say_at_the_end():
    belljar.progress(2)
    belljar.progress(3, note="all of it")
    print("said")


support.as_of_a_script(globals())


def told(events, count):
    """So many events, in any order of the streams."""
    return sorted(((event.kind, event.text or event.progress.note) for event in (next(events) for _ in range(count))))


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.executor = belljar.Executor(support.shared())
        cls.addClassCleanup(cls.executor.shutdown)

    def test_output_and_progress_come_while_the_call_runs(self):
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                future = self.executor.options(runtime=runtime).submit(speak)
                events = future.stream()
                self.assertEqual(told(events, 3), [("progress", "begun"), ("stderr", "wrong\n"), ("stdout", "first\n")])
                self.assertFalse(future.done())
                self.assertEqual(future.record().progress, belljar.Progress(1, 4, "begun"))
                self.assertTrue(future.cancel())
                rest = list(events)
                self.assertEqual([(event.kind, event.status) for event in rest], [("end", "CANCELLED")])

    def test_a_call_that_has_ended_tells_what_it_told(self):
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                future = self.executor.options(runtime=runtime).submit(say_at_the_end)
                future.result()
                said, progress, end = future.stream()
                self.assertEqual((said.kind, said.text, end.status), ("stdout", "said\n", "COMPLETED"))
                self.assertEqual(progress.progress, belljar.Progress(3, None, "all of it"))

    def test_on_an_event_loop(self):
        async def run():
            async with belljar.AsyncExecutor(support.shared()) as executor:
                future = executor.submit(speak, 0.3)
                kinds = [event.kind async for event in future.stream()]
                return kinds, await future

        kinds, result = asyncio.run(run())
        self.assertEqual((sorted(kinds), kinds[-1], result), (["end", "progress", "stderr", "stdout"], "end", 7))

    def test_by_the_id_of_a_task(self):
        future = self.executor.submit(speak, 0.2)
        self.executor.flush()
        with belljar.Client(support.shared()) as client:
            self.assertEqual([event.text for event in client.stream(future.task_id) if event.kind == "stdout"], ["first\n"])
            with self.assertRaises(belljar.NotFound):
                next(client.stream("0f8fad5b-d9cb-469f-a165-70867728950e"))

    def test_an_iterator_may_be_left(self):
        future = self.executor.submit(speak)
        for event in future.stream():
            break
        self.assertTrue(future.cancel())

    def test_progress_outside_of_a_call_does_nothing(self):
        self.assertIsNone(belljar.progress(1, 2, "here"))


class Commands(unittest.TestCase):
    def run_command(self, *words):
        return support.run_python("-m", "belljar", *words, env={"BELLJAR_URL": support.shared()})

    def test_run_shows_output_as_it_comes_and_once(self):
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, "script.py")
            script.write_text("import time\ndef f(n):\n  print('begun', n)\n  time.sleep(0.5)\n  print('ended')\n  return n\n")
            ended = self.run_command("run", f"{script}:f", "3")
            self.assertEqual((ended.stdout, ended.returncode), ("begun 3\nended\n3\n", 0), ended.stderr)

    def test_logs_follow_a_task(self):
        with belljar.Executor(support.shared()) as executor:
            future = executor.submit(speak, 0.5)
            executor.flush()
            ended = self.run_command("logs", "-f", future.task_id)
        self.assertEqual((ended.stdout, ended.returncode), ("first\n", 0))
        self.assertRegex(ended.stderr, r"^wrong\n[-0-9a-f]+ COMPLETED, attempts: 1\nprogress: \[#* *\] 1/4  begun\n$")


class Shown(unittest.TestCase):
    def test_a_line_shows_how_far_a_call_is(self):
        line = _table.call_line(belljar.Progress(1, 4, "a\nnote\x1b[2J"), 60)
        self.assertEqual(line, f"[{'#' * 10}{' ' * 30}] 1/4  a note?[2J")
        self.assertEqual(_table.call_line(belljar.Progress(2.5), 60), "2.5")
        self.assertEqual(_table.share(belljar.Progress(9, 4)), 1.0)

    def test_what_is_left_out_is_said_and_a_last_line_is_ended(self):
        events = [belljar.TaskEvent("stdout", "a"), belljar.TaskEvent("stdout", "b", skipped=9), belljar.TaskEvent("attempt", attempt=2)]
        with mock.patch("sys.stdout", io.StringIO()) as out, mock.patch("sys.stderr", io.StringIO()) as err:
            _live.show(events)
        self.assertEqual(out.getvalue(), "ab\n")
        self.assertEqual(err.getvalue(), "... 9 bytes of stdout are left out ...\nattempt 2 begins\n")

    def test_the_bar_of_many_calls_moves_with_those_that_run(self):
        bar = _table.Progress(4)
        self.assertIn("0/4", bar.line(1.0, 80))
        self.assertEqual(bar.line(1.0, 80, running=2.0).count("#"), 20)
