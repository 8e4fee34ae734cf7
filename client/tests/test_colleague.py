"""The last part of the tutorial: a colleague on another machine, which here is another network namespace."""

import contextlib
import ipaddress
import itertools
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from . import support
from .support import ip

# Of the tutorial, and of a network that no machine has and no other process: the tests under another Python may run too.
SHOWN, PORT = "192.0.2.1", 8443
ADDRESS, THEIRS = (str(ipaddress.ip_address("198.18.0.0") + os.getpid() % 2**15 * 4 + host) for host in (1, 2))
NUMBERS = itertools.count()


def lines():
    """The colleague's program in the tutorial."""
    text = (support.ROOT / "docs/tutorial.md").read_text()
    return text.split("## 6. Let a colleague in")[1].split("```python\n")[1].split("```")[0]


@contextlib.contextmanager
def machine():
    """Another machine: a network namespace with one wire to this one."""
    name = f"bj{os.getpid()}.{next(NUMBERS)}"
    ip("netns", "add", name)
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        ip("addr", "add", f"{ADDRESS}/30", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        ip("-n", name, "addr", "add", f"{THEIRS}/30", "dev", f"{name}b")
        ip("-n", name, "link", "set", f"{name}b", "up")
        yield name
    finally:
        # At once, where it goes with the namespace a moment later.
        subprocess.run(["ip", "link", "del", f"{name}a"], check=False, capture_output=True)
        ip("netns", "del", name)


@unittest.skipUnless(support.can_make(machine), "network namespaces cannot be made here")
class Colleague(unittest.TestCase):
    def setUp(self):
        self.machine = self.enter(machine())
        self.folder = Path(self.enter(tempfile.TemporaryDirectory()))
        self.ca, key = str(self.folder / "faas.pem"), str(self.folder / "faas.key")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        command += ["-keyout", key, "-out", self.ca, "-subj", "/CN=faas", "-addext", f"subjectAltName=IP:{ADDRESS}"]
        subprocess.run(command, check=True, capture_output=True)
        self.service = support.Service("--listen", f"{ADDRESS}:{PORT}", "--tls-cert", self.ca, "--tls-key", key)
        self.addCleanup(self.service.stop)

    def enter(self, context):
        entered = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return entered

    def key(self, *words):
        command = [str(support.binary()), "key", *words, "--data", str(self.service.data)]
        return subprocess.run(command, capture_output=True, text=True, env=support.environment(), check=True).stdout.strip()

    def run_there(self, program):
        env = {**support.environment(), "PYTHONPATH": str(support.ROOT / "client/src"), "HOME": str(self.folder)}
        command = ["ip", "netns", "exec", self.machine, sys.executable, "-c", program]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=support.TIMEOUT, check=False)

    def test_six_lines_run_until_the_key_is_revoked(self):
        key = self.key("create", "ann", "--tenant", "research", "--expires", "30d")
        program = lines()
        self.assertEqual(len(program.splitlines()), 5)
        self.assertTrue(f"https://{SHOWN}:{PORT}" in program and "bj_..." in program)
        program = program.replace('"faas.pem"', repr(self.ca)).replace(SHOWN, ADDRESS)
        ran = self.run_there(program.replace("bj_...", key))
        self.assertEqual(ran.stdout, "42\n", ran.stderr)
        self.assertIn("AccessDenied", self.run_there(program.replace('key="bj_..."', 'key=None')).stderr)
        self.assertIn("is refused within 5 s", self.key("revoke", "ann"))

        def refused():
            return "AccessDenied: the key was revoked" in self.run_there(program.replace("bj_...", key)).stderr

        self.assertTrue(support.eventually(refused, 10))


if __name__ == "__main__":
    unittest.main()
