"""Puts the interpreter back in order after a call, or says what it cannot put back.

Imported last, when the interpreter is as every call must find it. Most calls change nothing: that is found
out in `watch.rs`, within a microsecond. What has changed is put back entry by entry.

What a module is like once its import has ended is how later calls find it: `_Imports` takes that state for
the known one, so imports stay warm. Modules below the directories of functions that are sent by reference are
the deployment's own: they keep what calls do to them.
"""

import builtins
import gc
import io
import os
import sys

from belljar_entries import Class, Entry, Names, left, watch, watch_container, watch_dict
from belljar_settings import AFTER, SPECIAL, watch_interpreter
from belljar_watch import Importer

# A call may replace builtins: what follows uses those that are here now.
globals().update({name: value for name, value in vars(builtins).items() if not name.startswith("__")})

# Our own modules, and the one that the runner empties before each call.
_OWN = {"__main__", "__mp_main__", "belljar_entries", "belljar_reset", "belljar_settings", "belljar_watch"}
_OWN |= {"belljar_host", "runner", "runner_pickles", "runner_progress"}
# Packages that the runner works with: as much a part of the interpreter as the standard library.
_STANDARD = {"dill", "cloudpickle"}
_LIBRARY = os.path.join(os.path.dirname(os.__file__), "")
# Lists, dictionaries and sets that programs add to. All others are constants, as good as that.
_CONTAINERS = {
    "_csv": ["_dialects"],
    "cloudpickle.cloudpickle": ["_PICKLE_BY_VALUE_MODULES"],
    "copy": ["_copy_dispatch", "_deepcopy_dispatch"],
    "copyreg": ["dispatch_table", "_extension_registry", "_inverted_registry"],
    "dill": ["settings"],
    "email.charset": ["ALIASES", "CHARSETS", "CODEC_MAP"],
    "encodings.aliases": ["aliases"],
    "gc": ["callbacks"],
    "logging": ["_handlerList", "_levelToName", "_nameToLevel"],
    "mimetypes": ["common_types", "encodings_map", "suffix_map", "types_map"],
    "shutil": ["_ARCHIVE_FORMATS", "_UNPACK_FORMATS"],
    "sys": ["argv", "meta_path", "path", "path_hooks", "warnoptions"],
    "threading": ["_threading_atexits"],
    "warnings": ["filters", "onceregistry"],
    "xml.etree.ElementTree": ["_namespace_map"],
}


def _is_standard(name, module):
    file = str(getattr(module, "__file__", None) or _LIBRARY)
    return name.partition(".")[0] in _STANDARD or file.startswith(_LIBRARY) and "site-packages" not in file


def _is_sent(module):
    """Whether the client sent it with the call: `runner_pickles.py` takes it away again."""
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    return type(loader).__module__ == "runner_pickles"


class _Modules(Names):
    """`sys.modules`."""

    def record(self):
        self.copy = {name: module for name, module in self.live.items() if not _is_sent(module)}

    def replaced(self):
        for name, module in self.copy.items():
            now = self.live.get(name, module)
            if now is not module and not _is_sent(now):
                return f"sys.modules[{name!r}]"

    def merge(self, before):
        super().merge(before)
        self.copy = {name: module for name, module in self.copy.items() if not _is_sent(module)}


class _Imports:
    """Takes modules in as their imports end."""

    def __init__(self, deployed):
        self.deployed = tuple(os.path.join(os.path.abspath(path), "") for path in deployed)
        self.changed_before = []
        self.known, self.names = {}, {}
        self.modules = _Modules("sys.modules", sys.modules)
        watch.dict(sys.modules, self.modules)

    def before(self):
        changed = watch.changed() or ()
        self.changed_before = [(entry, entry.state()) for entry in changed]
        for entry in changed:
            if name := isinstance(entry, Names) and entry.replaced():
                # The modules may keep what stands in for it.
                left.append(f"an import while `{name}` was replaced")

    def after(self):
        """What was as known before the import, and is not any more, was changed by the import."""
        before = {id(entry): state for entry, state in self.changed_before}
        clean = []
        for entry in watch.changed() or ():
            if id(entry) in before:
                entry.merge(before[id(entry)])
            else:
                entry.record()
                clean.append(entry)
        watch.record(clean)
        self.take_in()

    def take_in(self):
        for name, module in list(self.modules.copy.items()):
            if name not in _OWN and id(module) not in self.known and isinstance(module, type(sys)):
                self.known[id(module)] = module
                self.take(name, module)

    def take(self, name, module):
        names = vars(module)
        if str(getattr(module, "__file__", None)).startswith(self.deployed or "\0"):
            return
        standard = _is_standard(name, module)
        self.names[name] = watch_dict(name, names, AFTER.get(name), lazy=not standard)
        if standard:
            self.take_classes(name, names)
        for attribute in _CONTAINERS.get(name, ()):
            if attribute in names:
                watch_container(f"{name}.{attribute}", names[attribute], AFTER.get(name))
        if name in SPECIAL:
            SPECIAL[name](module)

    def take_classes(self, module, names):
        for name, value in list(names.items()):
            if isinstance(value, type) and id(value) not in self.known:
                self.known[id(value)] = value
                # On the heap and not immutable.
                if value.__flags__ & (1 << 9) and not value.__flags__ & (1 << 8):
                    Class(f"{module}.{name}", value)


class _Streams(Entry):
    """The standard streams."""

    _KINDS = (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w"))

    def __init__(self):
        self.open()

    def open(self):
        watch.forget(self)
        self.streams = {}
        for name, number, mode in self._KINDS:
            # Whole lines leave at once, so that a call that is cut short has said what it said.
            buffering = {"buffering": 1} if number else {}
            text = io.open(
                number, mode, encoding="utf-8", errors="backslashreplace", closefd=False, **buffering
            )
            self.streams[name] = self.streams[f"__{name}__"] = text
            for part in (text, text.buffer.raw):
                watch.bytes(part, self)
        for name, stream in self.streams.items():
            setattr(sys, name, stream)
        self.out, self.err = sys.stdout, sys.stderr
        self.known = self.describe()

    def describe(self):
        return [
            (s.closed, s.encoding, s.errors, s.line_buffering, s.write_through, dict(vars(s)))
            for s in self.streams.values()
        ]

    def flush(self):
        try:
            self.out.flush()
            self.err.flush()
        except ValueError:  # Closed, which `restore` finds.
            pass

    def restore(self):
        if self.describe() != self.known:  # `exit()` closes standard input, for one.
            self.open()
            _imports.names["sys"].copy.update(self.streams)


def start(deployed):
    """Takes the present for the state that every call finds. Modules below `deployed` keep theirs."""
    global _imports, _streams
    _streams = _Streams()
    watch_interpreter()
    bootstrap = sys.modules["_frozen_importlib"]
    _imports = _Imports(deployed)
    bootstrap._find_and_load = Importer(bootstrap._find_and_load, _imports.before, _imports.after)
    _imports.take_in()
    # What is here stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    reset()


def flush():
    """Hands on what the call has written."""
    _streams.flush()


def reset():
    """`None`, or what is left behind and cannot be put back."""
    try:
        changed = watch.changed()
        if changed is not None:
            _restore(changed)
        return left[0] if left else None
    except BaseException as error:
        return f"a broken interpreter: {type(error).__name__}: {error}"


def _restore(changed):
    # Settings, such as a trace function, come before names; `changed` has them last.
    for entry in reversed(changed):
        entry.restore()
    for after in {entry.after for entry in changed if entry.after}:
        after()
    for entry in changed:
        if entry.after:
            entry.record()
    watch.record(changed)
    watch.settle()
