"""A service for the tests, and what they share."""

from __future__ import annotations

import atexit
import faulthandler
import os
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any, Callable, ContextManager, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "testkit/python"))

import belljar_testkit
from belljar_testkit import TIMEOUT, eventually


def has_guest(python: str) -> bool:
    """Whether the sandbox has this Python. It always has 3.11."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "belljar"
    return python == "3.11" or (Path(os.environ.get("BELLJAR_GUEST_DIR") or cache) / python).is_dir()


PYTHON = "{}.{}".format(*sys.version_info)
HAS_SANDBOX = has_guest(PYTHON)
needs_sandbox = unittest.skipUnless(HAS_SANDBOX, f"the sandbox has no guest of Python {PYTHON}")
# A test that hangs shows where and ends the run.
faulthandler.dump_traceback_later(900, exit=True)


def binary() -> Path:
    """The program under test: `BELLJAR_BINARY`, or the latest build."""
    given = os.environ.get("BELLJAR_BINARY")
    if given:
        return Path(given)
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    built = [path for kind in ("debug", "release") for path in [target / kind / "belljar"] if path.is_file()]
    if not built:
        raise RuntimeError("no belljar is built; hint: `cargo build --workspace --bins`")
    return max(built, key=lambda path: path.stat().st_mtime)


class Service(belljar_testkit.Service):
    """A running service of the program under test."""

    def __init__(self, *options: str) -> None:
        super().__init__(binary(), "-w", "2", *options, env=environment(BELLJAR_LOG="error"))


def environment(**more: str) -> dict[str, str]:
    """The environment of this process without belljar's settings, except where its parts are."""
    kept = ("BELLJAR_GUEST_DIR",)
    env = {name: value for name, value in os.environ.items() if name in kept or not name.startswith("BELLJAR_")}
    return {**env, "BELLJAR_SITE": site(), **more}


def site() -> str:
    """The packages of the native interpreter: `BELLJAR_SITE`, or those that `make setup` installs."""
    return os.environ.get("BELLJAR_SITE") or str(next(ROOT.glob(".belljar/venv/lib/python*/site-packages")))


_shared: Optional[Service] = None


def shared() -> str:
    """The address of a service that all tests share."""
    global _shared
    if _shared is None:
        _shared = Service("--python-path", str(Path(__file__).parent / "importable"), "--grant-scratch-mb", "8")
        atexit.register(_shared.stop)
    return _shared.url


def ip(*words: str) -> None:
    """Runs `ip`, which makes machines of network namespaces."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def can_make(machines: Callable[[], ContextManager[Any]]) -> bool:
    """Whether such machines can be made here."""
    try:
        with machines():
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def run_python(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Runs this Python with the package on its path."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "client/src"), **more.pop("env", {})}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, timeout=TIMEOUT, **more)


def as_of_a_script(names: dict[str, Any]) -> None:
    """Moves the functions and classes of a test module to `__main__`, as in a script, so that they are pickled
    by value."""
    for value in names.values():
        if getattr(value, "__module__", None) == names["__name__"]:
            for part in (value, *(vars(value).values() if isinstance(value, type) else ())):
                if getattr(part, "__module__", None) == names["__name__"]:
                    part.__module__ = "__main__"
    names["__name__"] = "__main__"
