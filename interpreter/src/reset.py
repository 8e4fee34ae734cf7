"""Puts the interpreter back in order after a call, or says what it cannot put back.

Imported last, when the interpreter is as every call shall find it. Runs after each call, so it costs a
few microseconds: it compares, and acts only on a difference. Not put back: modules that a call has
imported, and what it changed inside them; see the documentation of the native runtime.
"""

import _thread
import gc
import os
import signal
import sys
import threading
from time import sleep



def _open_streams():
    global _streams, _stdout, _stderr
    text = {"encoding": "utf-8", "errors": "backslashreplace", "closefd": False}
    # Whole lines leave at once, so that a call that is cut short has said what it said.
    _streams = (open(0, **text), open(1, "w", buffering=1, **text), open(2, "w", buffering=1, **text))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = _streams
    sys.stdin, sys.stdout, sys.stderr = _streams
    _, _stdout, _stderr = _streams


_open_streams()
_environ = os.environ
_variables = dict(os.environ._data)
_path = list(sys.path)
_path_list = sys.path
_recursion_limit = sys.getrecursionlimit()
_switch_interval = sys.getswitchinterval()
# Those that programs do replace; asking for all sixty-four would cost more than the call.
_SIGNALS = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD, signal.SIGPIPE,
    signal.SIGUSR1, signal.SIGUSR2, signal.SIGVTALRM, signal.SIGPROF,
)
_SIGNALS = tuple(map(int, _SIGNALS))
_getsignal = signal._signal.getsignal
_handlers = list(map(_getsignal, _SIGNALS))
_running = _thread._count
# How often, and how long each time, a thread that is about to end is waited for.
_GRACE_TURNS = 10
_GRACE = 0.0005

# What is here stays: the collector need not look at it again.
gc.collect()
gc.freeze()


def reset():
    """`None`, or what is left behind and cannot be put back."""
    try:
        if (sys.stdin, sys.stdout, sys.stderr) != _streams:
            sys.stdin, sys.stdout, sys.stderr = _streams
        if _streams[0].closed or _stdout.closed or _stderr.closed:
            _open_streams()  # `exit()` closes standard input.
        _stdout.flush()
        _stderr.flush()
        if sys.path != _path or sys.path is not _path_list:
            sys.path = _path_list
            sys.path[:] = _path
        if os.environ is not _environ or _environ._data != _variables:
            _restore_environment()
        if sys.getrecursionlimit() != _recursion_limit:
            sys.setrecursionlimit(_recursion_limit)
        if sys.getswitchinterval() != _switch_interval:
            sys.setswitchinterval(_switch_interval)
        if sys.gettrace() or sys.getprofile():
            sys.settrace(None)
            sys.setprofile(None)
        if not gc.isenabled():
            gc.enable()
        if list(map(_getsignal, _SIGNALS)) != _handlers:
            return "a signal handler"
        if _running() and not _threads_end():
            return "a running thread: " + ", ".join(t.name for t in threading.enumerate()[1:4])
    except BaseException as error:
        return f"a broken interpreter: {type(error).__name__}: {error}"
    return None


def _restore_environment():
    os.environ = _environ
    _environ.clear()
    _environ._data.update(_variables)
    for name, value in _variables.items():
        os.putenv(name, value)


def _threads_end():
    # A pool that went out of scope tells its threads to end; they need a moment to do so.
    for _ in range(_GRACE_TURNS):
        sleep(_GRACE)
        if not _running():
            return True
    return False
