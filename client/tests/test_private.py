"""`belljar run` without an address: over a service of its own, which ends with it."""

import subprocess
import tempfile
import unittest
from pathlib import Path

from . import support


def belljar(*words, **more):
    env = support.environment(PYTHONPATH=str(support.ROOT / "client/src"), **more)
    command = [str(support.binary()), *words]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=support.TIMEOUT)


class Private(unittest.TestCase):
    def test_a_script_runs_with_the_modules_beside_it_and_nothing_stays(self):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "beside.py").write_text("def plus(x): return x + 1\n")
            script = Path(folder, "script.py")
            script.write_text("import beside\n\ndef go(x):\n    return beside.plus(x)\n")
            data = Path(folder, "data")
            data.mkdir()
            ended = belljar("run", f"{script}:go", "4", "--sandbox", TMPDIR=str(data))
            self.assertEqual((ended.stdout, ended.returncode), ("5\n", 0), ended.stderr)
            self.assertRegex(ended.stderr, r"^COMPLETED, sandbox, .*\n$", "nothing else is said")
            self.assertEqual(list(data.iterdir()), [])

    def test_failures_are_exit_codes(self):
        self.assertEqual(belljar("run").returncode, 2)
        self.assertEqual(belljar("run", "none.py", "--url", "http://127.0.0.1:9").returncode, 1)
        ended = belljar("run", str(support.ROOT / "guest-examples/useful/raise_error.py"))
        self.assertEqual(ended.returncode, 1)
        self.assertIn("Remote traceback", ended.stderr)

    def test_the_other_commands_are_handed_over(self):
        ended = belljar("workers", BELLJAR_URL=support.shared())
        self.assertIn("native:3.11", ended.stdout, ended.stderr)
        self.assertIn("usage: belljar logs", belljar("logs", "--help").stdout)
