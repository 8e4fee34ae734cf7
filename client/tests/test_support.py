"""What the tests start ends with them."""

import os
import signal
import subprocess
import sys
import unittest
from pathlib import Path

from . import support

SCRIPT = """
import signal
from tests import support
service = support.Service()
print(service.pid, service.data, flush=True)
signal.pause()
"""


class Service(unittest.TestCase):
    def test_it_ends_with_tests_that_are_killed(self):
        here = support.ROOT / "client"
        tests = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=here, stdout=subprocess.PIPE, text=True)
        pid, data = tests.stdout.readline().split()
        os.kill(tests.pid, signal.SIGKILL)
        tests.wait()
        tests.stdout.close()
        self.assertTrue(support.eventually(lambda: not Path(data).exists()))
        self.assertFalse(Path("/proc", pid).exists())
