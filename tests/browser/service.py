"""A whole service of its own, and calls to it."""

import codecs
import json
import os
import re
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import dill

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
READY = re.compile(r"belljar is ready at (http://\S+)")


def serialize(value: object) -> str:
    return codecs.encode(dill.dumps(value, recurse=True), "base64").decode()


class Service:
    """`belljar up` on a free port, with data of its own."""

    def __init__(self, *options: str, slots: int = 2, program: Path = TARGET / "debug" / "belljar"):
        self.folder = tempfile.TemporaryDirectory(prefix="belljar-dashboard-")
        command = [str(program), "up", "-w", str(slots), "--listen", "127.0.0.1:0", "--data", self.folder.name, *options]
        self.log = open(Path(self.folder.name) / "log", "wb")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.key = ""
        for line in self.process.stdout:
            if found := READY.search(line):
                self.url = found[1]
                return
        raise AssertionError(f"the service did not start: {(Path(self.folder.name) / 'log').read_text()}")

    def ask(self, path: str, body: object = None) -> dict:
        headers = {"content-type": "application/json"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=60) as reply:
            return json.load(reply)

    def register(self, function, name: str = "", **fields: object) -> str:
        # As if it stood in a script: it then travels by value.
        function.__module__ = "__main__"
        body = {"name": name or function.__name__, "payload": serialize(function), **fields}
        return self.ask("/register_function", body)["function_id"]

    def call(self, function_id: str, *args: object, **fields: object) -> str:
        body = {"function_id": function_id, "payload": serialize((args, {})), **fields}
        return self.ask("/execute_function", body)["task_id"]

    def finish(self, *task_ids: str) -> None:
        """Waits until tasks have ended."""
        for task_id in task_ids:
            while self.ask(f"/status/{task_id}?wait=30")["status"] in ("QUEUED", "RUNNING"):
                pass

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.process.stdout.close()
        self.log.close()
        self.folder.cleanup()


class Gateway:
    """A further gateway of a service."""

    def __init__(self, program: Path, of: Service):
        socket = next(Path(of.folder.name).rglob("*.sock"))
        command = [str(program), "gateway", "--listen", "127.0.0.1:0", "--redis", f"redis+unix://{socket}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = next(it for it in self.process.stdout if "http://" in it)
        self.url = line[line.index("http://"):].strip()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.process.stdout.close()
