"""Four machines with TLS everywhere, by the how-to alone; the machines are network namespaces."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from . import support
from .support import ip

MACHINES = ("redis", "gateway", "dispatcher", "worker", "client")
# A network that no machine has.
NETWORK = "198.51.100"


def blocks(language):
    """The programs of the how-to, in order."""
    text = (support.ROOT / "docs/how-to/deploy.md").read_text()
    section = text.split("## Four machines, TLS everywhere")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def namespace(machine):
    return f"bj{os.getpid()}{machine}"


@contextlib.contextmanager
def network():
    """The machines, each with one wire to a switch. Each knows the names of the others."""
    switch, made = namespace("switch"), []
    hosts = "127.0.0.1 localhost\n"
    hosts += "".join(f"{NETWORK}.{number} {machine}\n" for number, machine in enumerate(MACHINES, 1))
    try:
        for name in (switch, *map(namespace, MACHINES)):
            ip("netns", "add", name)
            made.append(name)
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
        for number, machine in enumerate(MACHINES, 1):
            name = namespace(machine)
            Path("/etc/netns", name).mkdir(parents=True)
            Path("/etc/netns", name, "hosts").write_text(hosts)
            ip("-n", switch, "link", "add", machine, "type", "veth", "peer", "name", "wire", "netns", name)
            ip("-n", switch, "link", "set", machine, "master", "bridge", "up")
            ip("-n", name, "addr", "add", f"{NETWORK}.{number}/24", "dev", "wire")
            for link in ("lo", "wire"):
                ip("-n", name, "link", "set", link, "up")
        yield
    finally:
        for name in reversed(made):
            ip("netns", "del", name)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)


# What is tested is the same under each Python.
@unittest.skipUnless(support.PYTHON == "3.11" and support.can_make(network), "network namespaces cannot be made here")
class Machines(unittest.TestCase):
    def setUp(self):
        self.enter(network())
        self.folder = Path(self.enter(tempfile.TemporaryDirectory()))
        path = f"{support.binary().parent}:{os.environ['PATH']}"
        self.environment = {**support.environment(BELLJAR_LOG="error"), "PATH": path, "HOME": str(self.folder)}

    def enter(self, context):
        entered = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return entered

    def on(self, machine, *command, **options):
        command = ["ip", "netns", "exec", namespace(machine), *command]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, start_new_session=True, **options
        )

    def start(self, machine, program, line):
        """Runs a program there; returns what it prints up to a line."""
        process = self.on(machine, "bash", "-ec", program)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(os.killpg, process.pid, signal.SIGTERM)
        said = ""
        for text in process.stdout:
            said += text
            if line in text:
                return said
        raise AssertionError(f"{machine} ended: {said}")

    def until_ready(self, machine, url):
        """Waits until a program there has what it needs: a worker its dispatcher."""
        ask = f"import time, urllib.request\nfor _ in range(200):\n    try: urllib.request.urlopen('{url}/readyz'); break\n    except OSError: time.sleep(0.1)"
        with self.on(machine, sys.executable, "-c", ask) as asking:
            asking.communicate(timeout=support.TIMEOUT)

    def test_a_call_crosses_four_machines(self):
        first, *programs = blocks("bash")
        subprocess.run(["bash", "-ec", first], cwd=self.folder, check=True, capture_output=True)
        lines = {
            "redis": "eady to accept connections",
            "gateway": "listens at https://",
            "dispatcher": "takes workers at",
            "worker": "metrics are at",
        }
        said = {}
        for program, machine in zip(programs, MACHINES):
            self.assertTrue(program.startswith(f"# on {machine}\n"), program)
            if machine == "worker":
                program = program.rstrip() + " --metrics-listen 127.0.0.1:0\n"
            said[machine] = self.start(machine, program, lines[machine])
        self.until_ready("worker", re.search(r"http://127\.0\.0\.1:\d+", said["worker"]).group())
        key = re.search(r"bj_\w+", said["gateway"]).group()
        (python,) = blocks("python")
        self.environment["PYTHONPATH"] = str(support.ROOT / "client/src")
        with self.on("client", sys.executable, "-c", python.replace("bj_...", key), stderr=subprocess.PIPE) as client:
            answer, errors = client.communicate(timeout=support.TIMEOUT)
        self.assertEqual(answer, "1024\n", errors)
        # Nobody gets in without a certificate or without the key.
        with self.on("client", sys.executable, "-c", python.replace("bj_...", "bj_wrong"), stderr=subprocess.PIPE) as client:
            self.assertIn("AccessDenied", client.communicate(timeout=support.TIMEOUT)[1])
        with self.on("client", "redis-cli", "-h", "redis", "--tls", "--cacert", "ca.pem", "PING", stderr=subprocess.STDOUT) as other:
            self.assertNotIn("PONG", other.communicate(timeout=support.TIMEOUT)[0])


if __name__ == "__main__":
    unittest.main()
