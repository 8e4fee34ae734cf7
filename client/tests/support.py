"""A whole service for the tests: `belljar up` on a free port, over a Redis of its own."""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Callable, Optional

ROOT = Path(__file__).resolve().parents[2]
READY = "belljar is ready at "
# CI machines are slow.
PATIENCE = 60.0


def has_guest(python: str) -> bool:
    """Whether the sandbox runs this Python: that of 3.11 is always there, others where somebody built them."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "belljar"
    return python == "3.11" or (Path(os.environ.get("BELLJAR_GUEST_DIR") or cache) / python).is_dir()


PYTHON = "{}.{}".format(*sys.version_info)
HAS_SANDBOX = has_guest(PYTHON)
needs_sandbox = unittest.skipUnless(HAS_SANDBOX, f"the sandbox has no guest of Python {PYTHON}")
# A test that hangs says where, and ends the run.
faulthandler.dump_traceback_later(900, exit=True)


def binary() -> Path:
    """The program under test: `BELLJAR_BINARY`, else what was built last."""
    given = os.environ.get("BELLJAR_BINARY")
    if given:
        return Path(given)
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    built = [path for kind in ("debug", "release") for path in [target / kind / "belljar"] if path.is_file()]
    if not built:
        raise RuntimeError("no belljar is built; hint: `cargo build --workspace --bins`")
    return max(built, key=lambda path: path.stat().st_mtime)


# Ends a service and removes its data as soon as the process that started it closes the pipe, or is dead.
ENDS = 'cat; kill "$0"; while kill -0 "$0"; do sleep 0.02; done; rm -rf "$1"'


class Service:
    """A running service."""

    def __init__(self, *options: str) -> None:
        program = str(binary())
        self._data = tempfile.mkdtemp(prefix="belljar-")
        command = [program, "up", "-w", "2", "--listen", "127.0.0.1:0", "--data", self._data, *options]
        env = environment(BELLJAR_LOG="error")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        ends = ["sh", "-c", ENDS, str(self._process.pid), self._data]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._ends = subprocess.Popen(ends, stdin=subprocess.PIPE, start_new_session=True, **quiet)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith(READY):
            self.stop()
            raise RuntimeError(f"the service did not start, and said `{line.strip()}`")
        self.url = line[len(READY) :].strip()

    def kill(self, name: str) -> None:
        """Kills one part, `gateway` or `redis-server`, which `up` then starts again."""
        found: list[int] = []

        def find() -> bool:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            words = {int(pid): Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in children}
            found[:] = [pid for pid, command in words.items() if name in command]
            return bool(found)

        if not eventually(find):  # It may be just being started again.
            raise RuntimeError(f"there is no {name}")
        os.kill(found[0], signal.SIGKILL)

    def stop(self) -> None:
        """Ends it and waits for that."""
        assert self._process.stdout is not None and self._ends.stdin is not None
        self._ends.stdin.close()
        self._process.wait(PATIENCE)
        self._ends.wait(PATIENCE)
        self._process.stdout.close()


def environment(**more: str) -> dict[str, str]:
    """That of this process, without settings of ours but for where the parts are."""
    kept = ("BELLJAR_GUEST_DIR",)
    env = {name: value for name, value in os.environ.items() if name in kept or not name.startswith("BELLJAR_")}
    return {**env, "BELLJAR_SITE": site(), **more}


def site() -> str:
    """The packages of the service's native interpreter: `BELLJAR_SITE`, else those that `make setup` installs."""
    return os.environ.get("BELLJAR_SITE") or str(ROOT / ".belljar/venv/lib/python3.11/site-packages")


_shared: Optional[Service] = None


def shared() -> str:
    """The address of a service that all tests share."""
    global _shared
    if _shared is None:
        _shared = Service("--python-path", str(Path(__file__).parent / "importable"), "--grant-scratch-mb", "8")
        atexit.register(_shared.stop)
    return _shared.url


def eventually(fact: Callable[[], Any], patience: float = PATIENCE) -> bool:
    """Whether a fact comes true in time; for what no event tells."""
    end = time.monotonic() + patience
    while not fact():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def run_python(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Runs this Python with the package on its path."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "client/src"), **more.pop("env", {})}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, timeout=PATIENCE, **more)


def as_of_a_script(names: dict[str, Any]) -> None:
    """Makes the functions and classes of a test module what they are in a script: of `__main__`, so that
    they travel by value."""
    for value in names.values():
        if getattr(value, "__module__", None) == names["__name__"]:
            for part in (value, *(vars(value).values() if isinstance(value, type) else ())):
                if hasattr(part, "__module__"):
                    part.__module__ = "__main__"
    names["__name__"] = "__main__"
