"""What WASI's C library leaves out of `os`, `time` and `socket` and ordinary code takes for granted."""

import errno
import os
import posix
import re
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
    # Both are refused by the function itself.
    given = {} if ns is None else {"ns": ns}
    return _utime(path, times, **given, **where)


def posix_fallocate(fd, offset, length, /):
    """Makes a file at least so long; the C library has it without an effect, and with its own numbers of errors."""
    if offset < 0 or length <= 0:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if os.fstat(fd).st_size < offset + length:
        os.ftruncate(fd, offset + length)


def posix_fadvise(fd, offset, length, advice, /):
    """Takes advice on a file that is open, and does nothing."""
    os.fstat(fd)


_get_clock_info = time.get_clock_info


def get_clock_info(name, /):
    """That of a thread's time, which is the process's, too."""
    return _get_clock_info("process_time" if name == "thread_time" else name)


_strftime = time.strftime


def strftime(format, *when):
    """With `%k`, `%l` and `%P`, which the C library here leaves out of the text; `datetime` asks this function too."""
    if isinstance(format, str) and ("%k" in format or "%l" in format or "%P" in format):
        moment = when[0] if when else time.localtime()
        if isinstance(moment, tuple) and len(moment) > 3:
            hour = moment[3]
            texts = {"%k": f"{hour:2}", "%l": f"{hour % 12 or 12:2}", "%P": "am" if hour < 12 else "pm"}
            format = re.sub("%[%klP]", lambda found: texts.get(found[0], found[0]), format)
    return _strftime(format, *when)


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
    _module.utime, _module.posix_fallocate, _module.posix_fadvise = utime, posix_fallocate, posix_fadvise
    _add(_module, umask=umask, chmod=chmod, getuid=getuid, geteuid=getuid, getgid=getuid, getegid=getuid, getppid=getppid)
time.strftime = strftime
_add(time, thread_time=time.process_time, thread_time_ns=time.process_time_ns)
time.get_clock_info = get_clock_info
_add(socket, gethostname=gethostname, getfqdn=gethostname)
