"""What Python tests and measurements share: a whole service, `belljar up` on a free port over its own Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Optional

READY = "belljar is ready at "
# CI machines are slow.
TIMEOUT = 60.0
# Ends a service and removes its data as soon as the process that started it closes the pipe or is dead.
SUPERVISOR = 'cat; kill "$0"; while kill -0 "$0"; do sleep 0.02; done; rm -rf "$1"'


def eventually(condition: Callable[[], Any], timeout: float = TIMEOUT) -> bool:
    """Whether a condition becomes true in time; for what no event announces."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


class Service:
    """A running service. It ends with the process that started it, also if that is killed."""

    def __init__(self, program: os.PathLike[str] | str, *options: str, env: Optional[dict[str, str]] = None) -> None:
        self.data = tempfile.mkdtemp(prefix="belljar-")
        command = [os.fspath(program), "up", "--listen", "127.0.0.1:0", "--data", self.data, *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        self.pid = self._process.pid
        supervisor = ["sh", "-c", SUPERVISOR, str(self.pid), self.data]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._supervisor = subprocess.Popen(supervisor, stdin=subprocess.PIPE, start_new_session=True, **quiet)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith(READY):
            self.stop()
            raise RuntimeError(f"the service did not start but printed `{line.strip()}`")
        self.url = line[len(READY) :].strip()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def kill(self, name: str) -> None:
        """Kills one process, `gateway` or `redis-server`, which `up` then restarts."""
        found: list[int] = []

        def find() -> bool:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            words = {int(pid): Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in children}
            found[:] = [pid for pid, command in words.items() if name in command]
            return bool(found)

        if not eventually(find):  # `up` may be restarting it.
            raise RuntimeError(f"there is no {name}")
        os.kill(found[0], signal.SIGKILL)

    def stop(self) -> None:
        """Ends it and waits until it has ended."""
        assert self._process.stdout is not None and self._supervisor.stdin is not None
        self._supervisor.stdin.close()
        self._process.wait(TIMEOUT)
        self._supervisor.wait(TIMEOUT)
        self._process.stdout.close()
