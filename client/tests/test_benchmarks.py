"""The benchmark of the package runs, with a few calls of each kind."""

import unittest

from . import support

SCRIPT = support.ROOT / "bench/sdk.py"


class Benchmarks(unittest.TestCase):
    @unittest.skipUnless(SCRIPT.is_file(), "it is no part of the package")
    def test_it_measures_and_prints(self):
        sizes = ["--singles", "5", "--batch", "10", "--large", "5", "--peers", "none"]
        env = support.environment(BELLJAR_LOG="error")
        ended = support.run_python(str(SCRIPT), "--belljar", str(support.binary()), *sizes, env=env)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertRegex(ended.stdout, r"one at a time, p50 \(us\)( +\d+){4}\n")
        self.assertRegex(ended.stdout, r"1 MiB there and back, one at a time, p50 \(us\) +\d+ +\d+\n")
