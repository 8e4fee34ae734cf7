"""What the executors share: their settings, and functions pickled once."""

from __future__ import annotations

import os
import weakref
from typing import Any, Callable, Mapping, Optional

from ._calls import Code, Options
from ._http import Address
from ._pickling import PICKLERS, dump_function
from ._service import Service

DEFAULT_URL = "http://127.0.0.1:8000"


class Settings:
    """Where the service is and how it is spoken to."""

    def __init__(
        self,
        url: Optional[str],
        headers: Optional[Mapping[str, str]],
        connect_timeout: float,
        retry_timeout: float,
    ) -> None:
        self.address = Address(url or os.environ.get("BELLJAR_URL") or DEFAULT_URL, headers)
        self._connect_timeout = connect_timeout
        self._retry_timeout = retry_timeout

    def service(self) -> Service:
        """The service, for one event loop."""
        return Service(self.address, connect_timeout=self._connect_timeout, retry_timeout=self._retry_timeout)


class Codes:
    """Functions, pickled when they are first called and then remembered as long as they live."""

    def __init__(self, pickler: str) -> None:
        if pickler not in PICKLERS:
            raise ValueError(f"there is no pickler `{pickler}`: use one of {', '.join(PICKLERS)}")
        self._pickler = pickler
        self._known: weakref.WeakKeyDictionary[Any, dict[Options, Code]] = weakref.WeakKeyDictionary()

    def of(self, function: Callable[..., Any], options: Options) -> Code:
        """The code of a function under these options."""
        try:
            return self._known[function][options]
        except (KeyError, TypeError):
            pass
        if not callable(function):
            raise TypeError(f"`{function!r}` cannot be called")
        name = getattr(function, "__name__", type(function).__name__)
        code = Code(name, dump_function(function, self._pickler), options)
        try:
            self._known.setdefault(function, {})[options] = code
        except TypeError:
            pass  # It cannot be referred to weakly, or not be hashed: pickled anew each time.
        return code
