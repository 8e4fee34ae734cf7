"""What WASI's C library leaves out of `os`, `time` and `socket` and ordinary code takes for granted."""

import os
import posix
import socket
import time

_mask = 0o022


def umask(mask):
    """Returns the mask before; files here have no permissions that it could take away."""
    global _mask
    _mask, before = mask, _mask
    return before


def chmod(path, mode, *, dir_fd=None, follow_symlinks=True):
    """Does nothing to a file that is there: files here have no permissions."""
    os.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)


_utime = posix.utime


def utime(path, times=None, *, ns=None, **where):
    """Names the present where no times are given: the C library's own word for it does not reach the host."""
    if times is None and ns is None:
        ns = (time.time_ns(),) * 2
    return _utime(path, times, **where) if ns is None else _utime(path, ns=ns, **where)


def getuid():
    return 1000


def getppid():
    return 1


def gethostname():
    return "sandbox"


def _add(module, **functions):
    for name, function in functions.items():
        if not hasattr(module, name):
            setattr(module, name, function)


for _module in (os, posix):
    _module.utime = utime
    _add(_module, umask=umask, chmod=chmod, getuid=getuid, geteuid=getuid, getgid=getuid, getegid=getuid, getppid=getppid)
_add(time, thread_time=time.process_time, thread_time_ns=time.process_time_ns)
_add(socket, gethostname=gethostname, getfqdn=gethostname)
