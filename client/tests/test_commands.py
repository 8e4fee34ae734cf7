"""`python -m belljar`: run, tasks, logs, workers, cancel."""

import json
import re
import sys
import tempfile
import unittest
from datetime import datetime, timezone
from pathlib import Path

import belljar
from belljar._cli import _learn, _run, _script, _table

from . import support

EXAMPLES = support.ROOT / "guest-examples"
SCRIPT = '''
import sys
from dataclasses import dataclass

from on_the_path import treble

FACTOR = 3

@dataclass
class Point:
    x: int

def scale(x, by=FACTOR):
    print("scaling", x)
    return Point(treble(x) * by)

def copy(name):
    import pathlib
    pathlib.Path("out").mkdir()
    pathlib.Path("out/copy.txt").write_bytes(pathlib.Path(name).read_bytes()[::-1])

def fail():
    print("about to fail", file=sys.stderr)
    raise ValueError("as it was asked to")

def where():
    return sys.platform

def reach():
    import socket
    for call in (lambda: open("/srv/data/rows.csv"), lambda: socket.create_connection(("api.example.com", 443))):
        try: call()
        except OSError: pass
    return sys.platform

if __name__ == "__main__":
    raise SystemExit("this is not what was asked for")
'''


def belljar_command(*words):
    return support.run_python("-m", "belljar", *words, env={"BELLJAR_URL": support.shared()})


class Run(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.script = str(Path(folder.name) / "script.py")
        Path(cls.script).write_text(SCRIPT)
        # The workers find theirs on their own path.
        (Path(folder.name) / "on_the_path.py").write_text("def treble(x): return 3 * x\n")

    def run_script(self, name, *words):
        return belljar_command("run", f"{self.script}:{name}", *words)

    def test_the_result_is_all_of_the_output_but_what_the_function_wrote(self):
        ended = self.run_script("scale", "2")
        self.assertEqual((ended.returncode, ended.stdout), (0, "scaling 2\nPoint(x=18)\n"), ended.stderr)
        self.assertRegex(ended.stderr, r"^COMPLETED, native, [\d.]+ ms \(.*call")

    def test_arguments_have_names(self):
        self.assertIn("Point(x=30)", self.run_script("scale", "--arg", "1", "--arg", "by=10").stdout)
        self.assertEqual(_script.arguments(["1", "[2]", "a=b"], ["n='3'", "4"]), ((1, [2], "a=b", 4), {"n": "3"}))

    def test_arguments_come_from_the_docstring(self):
        for docstring in ('"""args: ((2, 3), {})"""', "'args: ((2, 3), {})'", '"""Multiplies.\n\nargs: ((2, 3), {})\n"""'):
            script = Path(self.script).with_name("multiply.py")
            script.write_text(f"{docstring}\n\ndef multiply(a, b):\n    return a * b\n")
            ended = belljar_command("run", str(script))
            self.assertEqual((ended.stdout, ended.returncode), ("6\n", 0), ended.stderr)

    def test_an_exception_is_shown_with_its_traceback(self):
        ended = self.run_script("fail")
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        self.assertIn("about to fail\n", ended.stderr)
        self.assertIn("ValueError: as it was asked to", ended.stderr)
        self.assertIn('script.py", line', ended.stderr)

    @support.needs_sandbox
    def test_the_sandbox_is_asked_for(self):
        self.assertEqual(self.run_script("where", "--sandbox").stdout, "'wasi'\n")
        ended = self.run_script("where", "--sandbox", "--json", "--timeout", "7")
        reply = json.loads(ended.stdout)
        self.assertEqual((reply["result"], reply["record"]["limits"]["timeout_s"]), ("wasi", 7.0))

    @support.needs_sandbox
    def test_files_go_in_and_come_out(self):
        with tempfile.TemporaryDirectory() as folder:
            given = Path(folder, "given.txt")
            given.write_text("abc")
            for sandbox in ((), ("--sandbox",)):
                target = Path(folder, f"results{len(sandbox)}")
                words = ("--file", str(given), "--file", f"in/x={given}", "--output", "**/*.txt", "--output-dir", str(target))
                ended = self.run_script("copy", *words, *sandbox, "--arg", "in/x")
                self.assertEqual(ended.returncode, 0, ended.stderr)
                found = {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}
                self.assertEqual(found, {"given.txt": "abc", "out/copy.txt": "cba"})
                self.assertIn("out/copy.txt: 3 bytes", ended.stderr)
        refused = self.run_script("copy", "--output", "*", "--map", "[1]")
        self.assertIn("its files would replace one another", refused.stderr)

    def test_a_file_never_leaves_the_folder_that_it_is_for(self):
        with tempfile.TemporaryDirectory() as folder:
            target, elsewhere = Path(folder, "target"), Path(folder, "elsewhere")
            target.mkdir()
            elsewhere.mkdir()
            (target / "link").symlink_to(elsewhere)
            (target / "file").symlink_to(elsewhere / "file")
            for name in ("../up", str(elsewhere / "absolute"), "a/../../up", "link/in", "file", ".", ""):
                with self.assertRaisesRegex(_script.ScriptError, "would not be in"):
                    _run._save({name: b"x"}, target)
            self.assertEqual(([*elsewhere.iterdir()], sorted(Path(folder).iterdir())), ([], [elsewhere, target]))

    @support.needs_sandbox
    def test_what_was_refused_is_learnt(self):
        ended = self.run_script("reach", "--learn")
        self.assertEqual(ended.stdout, "'wasi'\n")
        for line in (
            "refused: read /srv/data/rows.csv",
            "refused: network api.example.com:443",
            "to ask for it: executor.options(read=['/srv/data'], http=['GET https://api.example.com/*'])",
            "to offer it: belljar up --grant-read /srv/data --grant-http 'GET https://api.example.com/*'",
        ):
            self.assertIn(line, ended.stderr.splitlines())
        self.assertIn("the call was refused nothing", self.run_script("where", "--learn").stderr)

    def test_the_smallest_grants_are_proposed(self):
        refused = {
            "read": ["/srv/a/x", "/srv/a/b/", "/srv/ab/y", "/lib/x", "/x"],
            "env": ["B", "A"],
            "http": ["GET https://a/v1/x", "GET https://a/v1/y", "POST https://a/v1/x"],
            "network": ["a:80", "b:8080", ""],
            "thread": [""],
        }
        asked, offered = _learn.grants(refused)
        self.assertEqual(asked["read"], ["/srv/a", "/srv/ab"])
        self.assertEqual(asked["env"], ["A", "B"])
        self.assertEqual(
            asked["http"],
            ["GET http://a/*", "GET http://b:8080/*", "GET https://a/v1/*", "POST https://a/v1/x"],
        )
        self.assertEqual(offered[:4], ["--grant-read", "/srv/a", "--grant-read", "/srv/ab"])

    @support.needs_sandbox
    def test_runtimes_are_compared(self):
        ended = belljar_command("run", str(EXAMPLES / "useful/fibonacci.py"), "--compare")
        heads, native, sandbox = ended.stdout.splitlines()
        self.assertEqual(heads.split()[:3], ["RUNTIME", "RESULT", "TOTAL"])
        self.assertEqual((native.split()[:2], sandbox.split()[:2]), (["native", "2584"], ["sandbox", "2584"]))
        self.assertEqual(ended.returncode, 0)
        self.assertEqual(self.run_script("where", "--compare").returncode, 1, "the results differ")

    def test_a_list_is_mapped(self):
        ended = belljar_command("run", str(EXAMPLES / "useful/fibonacci.py"), "--map", "range(3, 8)")
        self.assertEqual(ended.stdout.split(), ["2", "3", "5", "8", "13"])
        ended = self.run_script("scale", "--map", "[1, 'a', None]", "--json")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("1 of 3 calls failed", ended.stderr)
        self.assertIn("TypeError", json.loads(ended.stdout)[2]["error"])

    def test_what_is_wrong_is_said_with_the_way_out(self):
        for words, said in [
            (["none.py"], "no file `none.py`; hint: belljar run FILE.py:function"),
            ([self.script], r"which function of .* fail, reach, scale, where"),
            ([f"{self.script}:none"], r"no function `none`; hint: it has copy, fail, reach, scale, where"),
            ([f"{self.script}:where", "--map", "3"], "`3` is no list; hint"),
            ([str(EXAMPLES / "hostile/fork_process.py")], "unsafe natively; hint: --sandbox"),
        ]:
            ended = belljar_command("run", *words)
            self.assertEqual(ended.returncode, 1)
            self.assertRegex(ended.stderr, f"^belljar: .*{said}")
        self.assertEqual(belljar_command("run").returncode, 2)

    @support.needs_sandbox
    def test_every_useful_example_does_what_it_says(self):
        for path in sorted((EXAMPLES / "useful").glob("*.py")):
            with self.subTest(path.name):
                minor = "sandbox-{}.{}".format(*sys.version_info)
                stated = [re.search(rf"^{of}: (value|raises|refused) (.*)$", path.read_text(), re.MULTILINE) for of in (minor, "native", "sandbox")]
                expected = next(filter(None, stated))
                ended = belljar_command("run", str(path), "--sandbox")
                if expected[1] == "value":
                    self.assertEqual((ended.stdout.splitlines()[-1:], ended.returncode), ([expected[2]], 0), ended.stderr)
                else:
                    self.assertIn(expected[2].split(" containing ")[0], ended.stderr)
                    self.assertEqual(ended.returncode, 1)

    @support.needs_sandbox
    def test_hostile_examples_are_held(self):
        for name, said in [("loop_forever", "TaskTimeout"), ("allocate_one_block", "MemoryError"), ("read_environment", "")]:
            ended = belljar_command("run", str(EXAMPLES / f"hostile/{name}.py"), "--sandbox")
            self.assertIn(said, ended.stderr)
            self.assertNotIn("Internal", ended.stderr)


class Look(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        def speak():
            print("said")
            raise KeyError("told")

        def wait():
            import time

            time.sleep(60)

        cls.executor = belljar.Executor(support.shared())
        cls.addClassCleanup(cls.executor.shutdown, cancel_futures=True)
        cls.spoken = cls.executor.submit(speak)
        cls.spoken.exception(60)
        cls.waiting = cls.executor.submit(wait)
        cls.executor.flush()

    def test_tasks_are_listed(self):
        ended = belljar_command("tasks", "--status", "failed", "--limit", "1000")
        line = next(line for line in ended.stdout.splitlines() if line.startswith(self.spoken.task_id))
        self.assertRegex(line, r"FAILED +native +\d+[smh] +speak$")
        self.assertLessEqual(len(line), 80)
        tasks = json.loads(belljar_command("tasks", "--json", "--limit", "2").stdout)
        self.assertEqual(len(tasks), 2)
        self.assertIn(self.waiting.task_id, belljar_command("tasks", "--json").stdout)

    def test_logs_tell_what_was_written_and_why_it_failed(self):
        ended = belljar_command("logs", self.spoken.task_id, "--follow")
        self.assertEqual((ended.stdout, ended.returncode), ("said\n", 0))
        self.assertRegex(ended.stderr, r"FAILED, attempts: 1\nTraceback(.|\n)*KeyError: 'told'\n")
        self.assertEqual(json.loads(belljar_command("logs", self.spoken.task_id, "--json").stdout)["status"], "FAILED")
        ended = belljar_command("logs", "0f8fad5b-d9cb-469f-a165-70867728950e")
        self.assertEqual(ended.returncode, 1)
        self.assertRegex(ended.stderr, "^belljar: no task has the id")

    def test_workers_are_listed(self):
        ended = belljar_command("workers")
        self.assertRegex(ended.stdout, r"^WORKER +HOST +PID +MODE +BUSY +SERVES\n")
        own = "native:{}.{}".format(*sys.version_info)
        self.assertLessEqual({"native:3.11", "sandbox:3.11", own}, set(ended.stdout.split()))
        self.assertEqual(json.loads(belljar_command("workers", "--json").stdout)[0]["slots"], 2)

    def test_tasks_are_cancelled(self):
        ended = belljar_command("cancel", self.waiting.task_id)
        self.assertEqual((ended.stdout, ended.returncode), (f"{self.waiting.task_id} CANCELLED\n", 0))
        ended = belljar_command("cancel", self.spoken.task_id, "--json")
        self.assertEqual((json.loads(ended.stdout)[0]["status"], ended.returncode), ("FAILED", 1))


class Tables(unittest.TestCase):
    def test_a_table_fits(self):
        rows = [["a" * 40, 1], ["b", None]]
        self.assertEqual(_table.table(("NAME", "N"), rows, width=80).splitlines()[1:], ["a" * 40 + "  1", "b" + " " * 41 + "-"])
        self.assertIn("a" * 40, _table.table(("NAME", "N"), rows, whole=1, width=20))
        narrow = _table.table(("NAME", "N"), rows, width=20).splitlines()
        self.assertTrue(all(len(line) <= 20 for line in narrow))
        self.assertEqual(narrow[1], "a" * 16 + "…  1")

    def test_ages_are_short(self):
        now = datetime(2026, 1, 3, tzinfo=timezone.utc)
        for since, shown in [("2026-01-02T23:59:58.5Z", "2s"), ("2026-01-02T23:58:00Z", "2m"), ("2025-12-03T00:00:00Z", "31d")]:
            self.assertEqual(_table.age(since, now), shown)

    def test_progress_fits(self):
        progress = _table.Progress(1000)
        for _ in range(250):
            progress.step()
        self.assertEqual(progress.line(0.5, 80), f"[{'#' * 10}{' ' * 30}] 250/1000  500/s  0:01 left")
        self.assertLess(len(progress.line(0.5, 20)), 20)
