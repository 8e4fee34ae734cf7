"""What a call finds. Compared with what a call in a fresh process finds."""


def f():
    import asyncio, atexit, builtins, codecs, contextvars, copyreg, csv, datetime, decimal, dill, faulthandler, gc
    import importlib, json, locale, logging, math, mimetypes, multiprocessing, os, pickle, random, re, resource
    import shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time, tracemalloc, warnings

    def look(get):
        try:
            return repr(get())
        except BaseException as error:
            return f"{type(error).__name__}: {error}"

    def names(space):
        # Without what imports of other calls add, in an order that says nothing of what was put back.
        return sorted(
            (name, type(value).__qualname__, *(str(getattr(value, what, "")) for what in ("__module__", "__qualname__")))
            for name, value in vars(space).items()
            if type(value) is not type(sys) and not name.startswith("__") and "cache" not in name
        )

    def unencodable():
        return "\udcff".encode()

    mask = os.umask(0)
    os.umask(mask)
    modules = (
        asyncio, atexit, builtins, codecs, copyreg, csv, datetime, decimal, dill, gc, importlib, json, locale, logging,
        math, multiprocessing, os, pickle, random, re, shutil, signal, socket, statistics, subprocess, sys, tempfile,
        threading, time, warnings,
    )  # fmt: skip
    classes = (json.JSONEncoder, logging.Logger, socket.socket, subprocess.Popen, threading.Thread)
    found = {f"names of {space.__name__}": names(space) for space in (*modules, *classes)}
    found["random"] = random.random() in (0.5, 0.8444218515250481)
    found["limits"] = [resource.getrlimit(i) for i in range(16) if i != resource.RLIMIT_AS]
    found["handlers"] = [signal.getsignal(number) for number in signal.valid_signals()]
    found["main"] = sorted(vars(sys.modules["__main__"]))
    found["modules"] = [name for name in ("json", "mine", "re", "math") if type(sys.modules.get(name)) is type(sys)]
    for get in (
        lambda: decimal.Decimal(1) / 7, decimal.getcontext, lambda: decimal.DefaultContext, lambda: warnings.filters,
        locale.localeconv, lambda: locale.setlocale(locale.LC_ALL), lambda: logging.root.handlers,
        lambda: logging.root.level, lambda: logging.root.manager.disable, lambda: sorted(logging.root.manager.loggerDict),
        logging.getLoggerClass, lambda: logging.getLevelName(7), socket.getdefaulttimeout,
        lambda: sorted(csv.list_dialects()),
        csv.field_size_limit, tempfile.gettempdir, lambda: sorted(map(str, copyreg.dispatch_table)),
        lambda: json.dumps([1, math.pi]), lambda: json.loads("[1]"), lambda: len([1]), lambda: isinstance(1, str),
        lambda: time.tzname, lambda: time.localtime(0), lambda: os.environ, lambda: os.popen("echo $PUT; env").read(),
        lambda: os.getpriority(os.PRIO_PROCESS, 0), lambda: os.sched_getaffinity(0), os.getcwd, lambda: mask,
        gc.isenabled, gc.get_threshold, gc.get_debug, lambda: gc.callbacks, sys.get_int_max_str_digits,
        sys.getrecursionlimit, sys.getswitchinterval, sys.gettrace, sys.getprofile, lambda: sys.argv,
        lambda: sys.path, lambda: len(sys.path_hooks), lambda: len(sys.meta_path), lambda: sys.stdin.read(),
        lambda: [(s.encoding, s.errors, s.line_buffering, s.write_through) for s in (sys.stdout, sys.stderr)],
        lambda: sys.stdout is sys.__stdout__, sys.get_asyncgen_hooks, sys.get_coroutine_origin_tracking_depth,
        lambda: signal.pthread_sigmask(0, ()), lambda: signal.getitimer(signal.ITIMER_REAL), atexit._ncallbacks,
        threading.active_count, threading.stack_size, lambda: codecs.lookup("mine"), unencodable,
        lambda: asyncio.run(asyncio.sleep(0, 5)), lambda: len(contextvars.copy_context()),
        multiprocessing.get_start_method, lambda: dill.settings, lambda: pickle.dumps([1]), shutil.get_archive_formats,
        lambda: datetime.datetime.fromtimestamp(0), lambda: mimetypes.guess_type("a.mine"), faulthandler.is_enabled,
        tracemalloc.is_tracing, lambda: statistics.mean([1, 2]), lambda: re.match("a", "a"), lambda: os.listdir("/sys"),
        lambda: importlib.import_module("json").dumps([]), lambda: sys.addaudithook, lambda: sorted([2, 1]),
    ):  # fmt: skip
        # Neither the address in a name nor that in a value is the same in two processes.
        code = getattr(get, "__code__", None)
        name = f"{code.co_names} {code.co_code.hex()}" if code else repr(get).partition(" at 0x")[0]
        found[name] = look(get).partition(" at 0x")[0]
    return found
