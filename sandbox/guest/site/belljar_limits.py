"""What the sandbox has not: each use is an error of the type that libraries expect, and `hint` tells the way out.

A row of `WAYS_OUT`, with its rules and functions, goes when the sandbox comes to have what it is about.
"""

import errno
import importlib
import importlib.machinery
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time

import belljar_packages

_TRUST = 'for code that you trust, runtime="native" has it'
WAYS_OUT = {
    "threads": "the sandbox has one thread: call the functions one after the other, or submit them as calls of their own",
    "processes": "the sandbox has one process: submit the work as calls of their own; " + _TRUST,
    "network": "the sandbox has no network: fetch the data before the call and pass it as an argument, or ask for HTTP"
    ' requests by options(http=["GET https://HOST/*"]), over REST "grants": {"http": ["GET https://HOST/*"]}; ' + _TRUST,
    "requests": 'the function asks for other HTTP requests, or for none: options(http=["{name}"]), over REST "grants":'
    ' {"http": ["{name}"]}, asks for this one, where the worker offers it by --grant-http',
    "secrets": "the worker's operator says in the file of --grant-http-secrets which requests a secret is for",
    "private addresses": "the worker's operator allows networks that are not public by --grant-http-private",
    "files": "the sandbox has no files of the machine: pass the content as an argument, or ask for the folder by"
    ' options(read=["/FOLDER"]), over REST "grants": {"read": ["/FOLDER"]}',
    "variables": 'the sandbox has no variables of the machine: options(env=["{name}"]), over REST "grants": {"env":'
    ' ["{name}"]}, asks for this one, where the worker offers it by --grant-env',
    "temporary files": "io.BytesIO and io.StringIO need no file; options(scratch_mb=64), over REST"
    ' "grants": {"scratch_mb": 64}, gives a call a larger /tmp than its 16 MiB, where the worker offers it',
    "zones": "the sandbox is in UTC: give datetimes a zoneinfo.ZoneInfo",
    "signals": "the sandbox has no signals and no alarms: options(timeout=...) limits a call",
    "source": "a function travels as bytecode, without its source text: pass that as an argument",
    "machine": "the sandbox shows nothing of the machine it runs on: pass what the function needs as an argument",
    "module": "`{name}` is part of Python's standard library, but not of the sandbox's: do without it; " + _TRUST,
    "package": 'the sandbox has no module `{name}`: ask for a package of pure Python by options(requirements=["PACKAGE"]), over'
    ' REST "requirements": ["PACKAGE"], where the service offers it, or put one on the worker\'s --python-path; the Python'
    " package sends modules beside the script along",
    "package apart": "the sandbox has `{name}` for calls that name it: say `import {name}` in the function that is called",
}
_PROCESS = "_multiprocessing multiprocessing _posixsubprocess _posixshmem pty"
# Modules whose absence says more than that.
_OF_MODULES = {**dict.fromkeys(_PROCESS.split(), "processes"), **dict.fromkeys(("ssl", "_ssl"), "network")}
# The first that fits tells which way out; `filename` is looked at before.
_RULES = [
    ("threads", RuntimeError, r"can't start new thread|watchdog thread"),
    ("processes", OSError, r"does not support processes|has one process"),
    ("network", OSError, r"has no network"),
    ("requests", OSError, r"the HTTP request `(?P<name>[^`]*)` is not granted"),
    ("secrets", OSError, r"the worker has no secret"),
    ("private addresses", OSError, r"an address that is not public"),
    ("signals", (OSError, NotImplementedError), r"has no signals"),
    ("machine", OSError, r"shows nothing of the machine"),
    ("zones", OSError, r"is in UTC"),
    ("source", OSError, r"source code"),
    ("processes", NotImplementedError, r"^$"),
]
# What is noted when it ends the call, since libraries often only look whether it is there.
_NOTED = {"module": "module", "package": "module", "variables": "env"}
_IS_NOT_HERE = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.EROFS, getattr(errno, "ENOTCAPABLE", 76))


def hint(error):
    """The way out of an error, or None; errors that one was made of are looked at too."""
    seen = []
    while error is not None and error not in seen:
        kind, name = _kind(error)
        if kind is not None:
            if kind in _NOTED:
                note(_NOTED[kind], name)
            return WAYS_OUT[kind].replace("{name}", str(name))
        seen.append(error)
        reason = getattr(error, "reason", None)
        error = reason if isinstance(reason, BaseException) else error.__cause__ or error.__context__


def _kind(error):
    """What an error is about, and a name that its way out tells; None for an error with no way out."""
    if isinstance(error, ImportError) and error.name:
        root, _, part = error.name.partition(".")
        # The package itself is there; what it has of compiled code may be asked for as a name in it.
        is_inside = part or not isinstance(error, ModuleNotFoundError)
        if is_inside and root in belljar_packages.APART:
            return "package apart", root
        return _OF_MODULES.get(root) or ("module" if root in sys.stdlib_module_names else "package"), error.name
    if type(error) is KeyError and error.args and _raised_in(error) == os._Environ.__getitem__.__code__.co_filename:
        return "variables", error.args[0]
    if isinstance(error, OSError) and error.errno in _IS_NOT_HERE and isinstance(error.filename, (str, bytes)):
        return "temporary files" if os.fsdecode(error.filename).startswith("/tmp") else "files", None
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "temporary files", None
    text = str(error)
    for kind, types, pattern in _RULES:
        if isinstance(error, types) and (found := re.search(pattern, text)):
            is_of_asyncio = pattern != "^$" or "asyncio" in _raised_in(error)
            return kind if is_of_asyncio else None, found.groupdict().get("name")
    return None, None


def _raised_in(error):
    trace, file = error.__traceback__, ""
    while trace is not None:
        trace, file = trace.tb_next, trace.tb_frame.f_code.co_filename
    return file


def note(kind, name=""):
    """Tells the record of the task what the call is refused. Nothing is at such a path; the host reads it."""
    try:
        os.open(f"/dev/denied/{kind}/{name}", os.O_RDONLY)
    except (OSError, ValueError):
        pass


def _refusing(text, cls=OSError, number=errno.ENOSYS, kind=None):
    def refuse(*args, **kwargs):
        if kind:
            note(kind)
        raise cls(number, text)

    return refuse


def _add(module, refuse, *names):
    for name in names:
        if not hasattr(module, name):
            setattr(module, name, refuse)


def _set_zone():
    """`time.tzset`, which `strptime` calls too: right where it asks for no other zone."""
    if os.environ.get("TZ", "") not in ("", "UTC", "UTC0", "Etc/UTC"):
        raise OSError(errno.ENOSYS, "the sandbox is in UTC")


_no_process = _refusing("the sandbox has one process", kind="process")
_no_signal = _refusing("the sandbox has no signals")
_no_machine = _refusing("the sandbox shows nothing of the machine")
no_network = _refusing("the sandbox has no network", number=errno.EAFNOSUPPORT, kind="network")
# As in Linux; CPython's own, for systems without `getaddrinfo`, are other numbers.
_EAI = "BADFLAGS NONAME AGAIN FAIL NODATA FAMILY SOCKTYPE SERVICE ADDRFAMILY MEMORY SYSTEM OVERFLOW".split()
for _module in (sys.modules["_socket"], socket):
    for _number, _name in enumerate(_EAI, 1):
        setattr(_module, "EAI_" + _name, -_number)
_no_name = _refusing("the sandbox has no network", socket.gaierror, socket.EAI_FAIL, kind="network")

# With `os.fork` there, asyncio would register what to do at a fork when it is imported: belljar_boot did so before.
_add(os, _no_process, *"fork forkpty pipe kill killpg system execv execve posix_spawn posix_spawnp wait waitpid".split())
_add(os, _no_machine, "getloadavg", "getlogin", "statvfs")
_add(shutil, _no_machine, "disk_usage")
_add(signal, _no_signal, "alarm", "setitimer", "getitimer", "pause", "pthread_kill", "sigwait")
_add(time, _set_zone, "tzset")
for _name, _number in (("SIGHUP", 1), ("SIGKILL", 9), ("SIGALRM", 14), ("SIGCHLD", 17), ("ITIMER_REAL", 0)):
    _add(signal, _number, _name)
_add(signal, OSError, "ItimerError")
_NAMES = "getaddrinfo gethostbyname gethostbyname_ex gethostbyaddr getnameinfo".split()
for _module in (sys.modules["_socket"], socket):
    _add(_module, _no_name, *_NAMES)
_add(socket, 1, "AI_PASSIVE")
socket.socket.__init__ = no_network


def _noting_threads(start):
    def refuse(*args, **kwargs):
        note("thread")
        return start(*args, **kwargs)

    return refuse


for _name in ("_start_new_thread", "_start_joinable_thread"):
    if hasattr(threading, _name):
        setattr(threading, _name, _noting_threads(getattr(threading, _name)))


def _load_no_code(loader, spec):
    """Compiled code for the machine: without this, an AttributeError of the import system."""
    raise ImportError("the sandbox cannot load compiled code", name=spec.name, path=spec.origin)


importlib.machinery.ExtensionFileLoader.create_module = _load_no_code
# A path that cannot be seen is none: `Path.exists` asks for these errors.
for _module in ("pathlib", "pathlib._abc"):
    try:
        _ignored = importlib.import_module(_module)
        _ignored._IGNORED_ERRNOS = (*_ignored._IGNORED_ERRNOS, *_IS_NOT_HERE)
    except (ImportError, AttributeError):  # Another Python asks `os.path`.
        pass
