"""State that is not in the names of a module: of the interpreter, the process and some modules."""

import _signal
import _thread
import atexit
import builtins
import codecs
import encodings
import gc
import os
import sys
import threading
from time import sleep

from belljar_entries import Object, Setting, left, watch, watch_dict, watch_instance, watch_list

# A call may replace builtins: what follows uses those that are here now.
globals().update({name: value for name, value in vars(builtins).items() if not name.startswith("__")})

# Tools that may monitor the interpreter at once.
_TOOLS = 6
_THREAD_STARTERS = ("start_new_thread", "start_new", "start_joinable_thread")
# What changes the environment of the process, whose it is and what it gets.
_STANDING = (
    "putenv", "unsetenv", "nice", "setpriority", "sched_setaffinity", "sched_setscheduler", "setuid", "setgid",
    "seteuid", "setegid", "setreuid", "setregid", "setresuid", "setresgid",
)  # fmt: skip
# How often, and how long each time, a thread that is about to end is waited for.
_GRACE_TURNS = 10
_GRACE = 0.0005


def _watch_os(os):
    watch_instance("os.environ", os.environ)
    watch_dict("os.environ", os.environ._data)


def _watch_random(random):
    def seed():
        random._inst.seed()

    Object(seed, random._inst)


def _watch_numpy_random(random):
    state = random.mtrand._rand
    Object(state.seed, state, state._bit_generator)


def _watch_decimal(decimal):
    for name in ("DefaultContext", "BasicContext", "ExtendedContext"):
        _watch_context(getattr(decimal, name))


def _watch_context(context):
    known = context.copy()

    def restore():
        for name in ("prec", "rounding", "Emin", "Emax", "capitals", "clamp"):
            setattr(context, name, getattr(known, name))
        context.traps, context.flags = known.traps, known.flags

    Object(restore, context)


def _watch_logging(logging):
    manager = logging.Logger.manager
    for name, instance in (("root", logging.root), ("manager", manager), ("lastResort", logging.lastResort)):
        watch_instance(f"logging.{name}", instance, manager._clear_cache)
    watch_list(logging.root.handlers)
    watch_list(logging.root.filters)
    watch_dict("logging.Logger.manager.loggerDict", manager.loggerDict, manager._clear_cache)


def _watch_resource(resource):
    put = _put_limit(resource)
    for limit in {getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}:
        Setting(resource.getrlimit, put, limit, by=(resource.setrlimit, resource.prlimit))


def _put_limit(resource):
    def put(limit, value):
        try:
            resource.setrlimit(limit, value)
        except (OSError, ValueError):
            left.append("a lowered resource limit")

    return put


def _watch_multiprocessing_context(context):
    watch_instance("multiprocessing.context", context._default_context)


def _watch_faulthandler(faulthandler):
    switch = (faulthandler.enable, faulthandler.disable)
    Setting(faulthandler.is_enabled, lambda on: switch[not on](), by=switch)


def _watch_tracemalloc(tracemalloc):
    Setting(tracemalloc.is_tracing, lambda on: None if on else tracemalloc.stop(), by=(tracemalloc.start,))


def _watch_locale(locale):
    watch.intercept(locale.setlocale)


def _warn_of_filters():
    warnings = sys.modules["warnings"]
    if hasattr(warnings, "_filters_mutated"):
        warnings._filters_mutated()
    else:  # Since 3.14.
        with warnings._lock:
            warnings._filters_mutated_lock_held()


# What to do after a module's names were put back.
AFTER = {
    "time": lambda: sys.modules["time"].tzset(),
    "warnings": _warn_of_filters,
}

# State that is not in the names of a module.
SPECIAL = {
    "os": _watch_os,
    "random": _watch_random,
    "numpy.random": _watch_numpy_random,
    "decimal": _watch_decimal,
    "logging": _watch_logging,
    "resource": _watch_resource,
    "multiprocessing.context": _watch_multiprocessing_context,
    "faulthandler": _watch_faulthandler,
    "_tracemalloc": _watch_tracemalloc,
    "_locale": _watch_locale,
    "_csv": lambda csv: Setting(csv.field_size_limit, csv.field_size_limit),
    "_socket": lambda socket: Setting(socket.getdefaulttimeout, socket.setdefaulttimeout),
}


def watch_interpreter():
    Setting(gc.isenabled, lambda on: gc.enable() if on else gc.disable(), by=(gc.enable, gc.disable))
    Setting(gc.get_threshold, lambda value: gc.set_threshold(*value), by=(gc.set_threshold,))
    Setting(gc.get_debug, gc.set_debug)
    Setting(sys.getrecursionlimit, sys.setrecursionlimit)
    Setting(sys.getswitchinterval, sys.setswitchinterval)
    Setting(sys.gettrace, sys.settrace)
    Setting(sys.getprofile, sys.setprofile)
    Setting(sys.getdlopenflags, sys.setdlopenflags)
    Setting(sys.get_asyncgen_hooks, lambda it: sys.set_asyncgen_hooks(*it), by=(sys.set_asyncgen_hooks,))
    Setting(sys.get_coroutine_origin_tracking_depth, sys.set_coroutine_origin_tracking_depth)
    if hasattr(sys, "get_int_max_str_digits"):
        Setting(sys.get_int_max_str_digits, sys.set_int_max_str_digits)
    # Asking for it sets it back.
    Setting(_thread.stack_size, lambda _: None, by=(_thread.stack_size,))
    # Nothing of it is ever run: the process does not end that way.
    atexit._clear()
    Setting(atexit._ncallbacks, lambda _: atexit._clear(), by=(atexit.register,))
    for number in _signal.valid_signals():
        Setting(_signal.getsignal, _put_handler, number, by=(_signal.signal,))
    if monitoring := getattr(sys, "monitoring", None):
        for tool in range(_TOOLS):
            Setting(monitoring.get_tool, _free_tool, tool, by=(monitoring.use_tool_id,))
    threads = [getattr(_thread, name) for name in _THREAD_STARTERS if hasattr(_thread, name)]
    Setting(_thread._count, _wait_for_threads, by=threads)
    _watch_codecs()
    sys.addaudithook = _watching_audit_hooks(sys.addaudithook)
    # What `process_state.rs` looks at.
    for name in _STANDING:
        if hasattr(os, name):
            watch.intercept(getattr(os, name))


def _free_tool(tool, _):
    sys.monitoring.set_events(tool, 0)
    sys.monitoring.free_tool_id(tool)


def _put_handler(number, handler):
    if handler is None:
        left.append("a signal handler")
    else:
        _signal.signal(number, handler)


def _wait_for_threads(_):
    # A pool that went out of scope tells its threads to end; they need a moment to do so.
    for _ in range(_GRACE_TURNS):
        sleep(_GRACE)
        if not _thread._count():
            return
    left.append("a running thread: " + ", ".join(t.name for t in threading.enumerate()[1:4]))


def _watch_codecs():
    """Codecs and error handlers are kept in containers without names."""
    codecs.lookup("utf-8")
    for container in gc.get_referrers(encodings.search_function):
        # 3.9 cannot take a search function away, nor empty the cache of what was found.
        if type(container) is list and all(map(callable, container)) and hasattr(codecs, "unregister"):
            watch_list(container, _forget_codecs(container))
    for container in gc.get_referrers(codecs.lookup_error("backslashreplace")):
        if type(container) is dict and "xmlcharrefreplace" in container:
            watch_dict("codecs", container)


def _forget_codecs(search):
    def forget():
        # Taking a search function away empties the cache of what was found.
        codecs.register(forget)
        codecs.unregister(forget)
        search[:] = [function for function in search if function is not forget]

    return forget


def _watching_audit_hooks(add):
    def addaudithook(hook):
        left.append("an audit hook")
        return add(hook)

    addaudithook.__doc__ = add.__doc__
    return addaudithook
