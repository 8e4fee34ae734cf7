"""The key that requests show: given, in `BELLJAR_KEY`, or in a file of the user's."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path
from typing import Mapping, Optional
from urllib.parse import urlsplit

from ._errors import AccessDenied

_HEADER = "Authorization"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Bits of a file's mode that let others read or change it.
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def key_file() -> Path:
    """The file with keys, a line `URL KEY` for each service."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "belljar" / "keys"


def with_key(url: str, key: Optional[str], headers: Optional[Mapping[str, str]]) -> dict[str, str]:
    """The headers of every request to a service, with the key that it is shown, if there is one."""
    fields = dict(headers or {})
    if any(name.lower() == _HEADER.lower() for name in fields):
        if key is not None:
            raise ValueError("both key= and a header `Authorization` are given: a request has one of them")
        return fields
    found = key or os.environ.get("BELLJAR_KEY") or _from_file(url)
    if found:
        _warn_of_plain(url)
        fields[_HEADER] = f"Bearer {found.strip()}"
    return fields


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
        warnings.warn(f"the key travels unencrypted to {host}: use https", stacklevel=4)
