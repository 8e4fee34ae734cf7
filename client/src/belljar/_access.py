"""The key, or token, that requests show: given, in the environment, from a command, or in a file of the user's."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import threading
import warnings
from pathlib import Path
from typing import Callable, Mapping, Optional, Union
from urllib.parse import urlsplit

from ._errors import AccessDenied

_HEADER = "Authorization"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Bits of a file's mode that let others read or change it.
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# It may ask a person.
_COMMAND_SECONDS = 120.0


def key_file() -> Path:
    """The file with keys, a line `URL KEY` for each service."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "belljar" / "keys"


Key = Union[str, Callable[[], str]]
"""A key or token, or what is called for one: at the first request, and again whenever the service refuses the last."""


class Access:
    """What clients of a service show it. A key that is refused is read again where it came from: tokens end."""

    def __init__(
        self,
        url: str,
        key: Optional[Key] = None,
        headers: Optional[Mapping[str, str]] = None,
        show: Callable[[Mapping[str, str]], None] = lambda headers: None,
    ) -> None:
        self._show = show
        self._headers = dict(headers or {})
        has_own = any(name.lower() == _HEADER.lower() for name in self._headers)
        if has_own and key is not None:
            raise ValueError("both key= and a header `Authorization` are given: a request has one of them")
        self._url = url
        self._read, is_slow = (lambda: None, False) if has_own else _source(url, key)
        self._lock = threading.Lock()
        self._key: Optional[str] = None
        # Whether it is read before the first request: that may take its time.
        self.is_pending = is_slow
        if not is_slow:
            self._take()

    @property
    def key(self) -> Optional[str]:
        """What is shown at the moment."""
        return self._key

    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return {**self._headers, _HEADER: f"Bearer {self._key}"} if self._key else self._headers

    def renew(self, refused: Optional[str]) -> bool:
        """Reads the key again, unless another request did meanwhile; whether there is another than the one that was refused."""
        with self._lock:
            if self._key == refused:
                self._take()
            return self._key != refused

    def _take(self) -> None:
        found = (self._read() or "").strip()
        if found and not self._key:
            _warn_of_plain(self._url)
        # In this order: who finds the newer key beside the older header asks once too often, and not too rarely.
        self._key = found or None
        self._show(self.headers())
        self.is_pending = False


def _source(url: str, key: Optional[Key]) -> tuple[Callable[[], Optional[str]], bool]:
    """What gives the key, and whether it may take its time."""
    if callable(key):
        return lambda: _called(key), True
    given = key or os.environ.get("BELLJAR_KEY")
    if given:
        return lambda: given, False
    file, command = os.environ.get("BELLJAR_KEY_FILE"), os.environ.get("BELLJAR_KEY_COMMAND")
    if file:
        return lambda: _content(file), False
    if command:
        return lambda: _output(command), True
    return lambda: _from_file(url), False


def _called(key: Callable[[], str]) -> str:
    try:
        found = key()
    except Exception as error:
        raise AccessDenied(f"the callable of key= gave no key: {type(error).__name__}: {error}") from error
    if not isinstance(found, str):
        raise AccessDenied(f"the callable of key= gave {type(found).__name__} instead of a text")
    return found


def _content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise AccessDenied(f"no key in the file that BELLJAR_KEY_FILE names: {error}") from error


def _output(command: str) -> str:
    try:
        ended = subprocess.run(
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise AccessDenied(f"the command of BELLJAR_KEY_COMMAND gave no key: {error}") from error
    if ended.returncode or not ended.stdout.strip():
        said = ended.stderr.strip().rpartition("\n")[2] or "nothing"
        raise AccessDenied(
            f"the command of BELLJAR_KEY_COMMAND gave no key: it ended with {ended.returncode} and said: {said}"
        )
    return ended.stdout


def _from_file(url: str) -> Optional[str]:
    path = key_file()
    try:
        with path.open(encoding="utf-8") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & _OTHERS:
                raise AccessDenied(f"others can read the keys in `{path}`; hint: chmod 600 {path}")
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    wanted = _origin(url)
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise AccessDenied(f"line {number} of `{path}` is not `URL KEY`")
        # A key is shown to the service that it is for, and to no other.
        if _origin(words[0]) == wanted:
            return words[1]
    return None


def _origin(url: str) -> tuple[str, Optional[str], Optional[int]]:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.hostname, port


def _warn_of_plain(url: str) -> None:
    scheme, host, _ = _origin(url)
    if scheme == "http" and host not in _LOOPBACK:
        warnings.warn(f"the key travels unencrypted to {host}: use https", stacklevel=6)
