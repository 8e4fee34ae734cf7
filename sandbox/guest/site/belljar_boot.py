"""Runs once, when the guest is built: whatever is imported and warm here is so in every call.

The shim takes `run`, `warm` and `seed` from it, calls `load` once and `freeze` last.
"""

import sys

# dill takes modules below these for installed ones and pickles them by name, others with all they hold.
sys.prefix = sys.base_prefix = sys.exec_prefix = sys.base_exec_prefix = "/lib"
sys.real_prefix = "/site"

# What functions commonly use, so that a call finds it imported: a module read from files costs
# milliseconds. What is missing here still imports.
import abc, ast, asyncio, base64, binascii, bisect, builtins, calendar, codecs, collections.abc, colorsys, contextlib
import copy, copyreg, csv, dataclasses, datetime, decimal, difflib, dis, enum, fractions, functools
import gc, graphlib, gzip, hashlib, heapq, hmac, html, importlib.util, inspect, io, itertools, json, keyword, logging
import marshal, math, numbers, operator, os, pathlib, pickle, platform, pprint, queue, random, re
import secrets, shlex, statistics, string, struct, tempfile, textwrap, threading, time, timeit
import tokenize, traceback, types, typing, unicodedata, urllib.parse, uuid, warnings, weakref, zlib
import email.message, html.parser, xml.etree.ElementTree, zipfile, zoneinfo

# dill asks for a folder for temporary files at import, where none can be written to yet.
tempfile.tempdir = "/tmp"

import belljar_hash
import belljar_http
import belljar_loop
import belljar_packages
import belljar_posix
import belljar_warm
import cloudpickle
import dill
import runner

# Line by line, so that a call that is cut short has said what it said.
for _stream in (sys.stdout, sys.stderr):
    _stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)

_CALLS = '''
import json, math

def add(x, y=1):
    return x + y

def text(name):
    return {"name": name, "items": [str(i) for i in range(10)], "half": 0.5}

def fail(x):
    raise ValueError(f"no {x}")

def closure(n):
    return lambda x: json.dumps([x, math.sqrt(n)])

class Point:
    def __init__(self, x):
        self.x = x

calls = [
    (add, ((1,), {})), (add, ((1,), {"y": 2})), (text, (("a",), {})), (fail, ((1,), {})),
    (closure(2), ((3,), {})), (Point, ((1,), {})), (len, (([1],), {})),
]
'''


def _rehearse():
    """Runs calls until caches are filled and the interpreter has specialised the code they take."""
    main = sys.modules["__main__"].__dict__
    # As bare as the runner leaves it: dill may pickle all of it along with a function.
    main.clear()
    main.update(__name__="__main__", __doc__=None, __builtins__=builtins)
    exec(_CALLS, main)
    pickled = []
    for function, args in main.pop("calls"):
        args = dill.dumps(args)
        pickled.append((dill.dumps(function, recurse=True), args))
        pickled.append((dill.dumps(function, recurse=False), args))
        pickled.append((cloudpickle.dumps(function), args))
    for _ in range(30):
        for code, args in pickled:
            runner.run(code, args)
    return pickled[0]


def importable():
    """Prints which top-level modules of the standard library import here and which do not, as JSON."""
    names = {True: [], False: []}
    for name in sorted(sys.stdlib_module_names - {"antigravity", "this", "idlelib"}):
        if name.startswith("_"):
            continue
        try:
            __import__(name)
        except Exception:
            names[False].append(name)
        else:
            names[True].append(name)
    from importlib.metadata import distributions

    versions = {package.name: package.version for package in distributions()}
    added = {name: versions[name] for name in belljar_packages.ADDED if name in versions}
    print(json.dumps({"python": platform.python_version(), "modules": names[True], "added": added, "missing": names[False]}, indent=1))


def ordinary():
    """The pickles of an ordinary small function and its arguments, in hexadecimal: for measuring."""
    return " ".join(pickle.hex() for pickle in _ordinary)


def load(packages):
    """Imports the first so many packages. Returns the generator that numpy must seed anew for every call."""
    for modules in list(belljar_packages.IMPORTED.values())[:packages]:
        for name in modules:
            importlib.import_module(name)
    numpy = sys.modules.get("numpy")
    return numpy and numpy.random.mtrand._rand._bit_generator.capsule


def freeze():
    """Leaves a heap without garbage, of which the collector never looks at a page again."""
    gc.collect()
    gc.freeze()


run = runner.run
warm = belljar_warm.load
seed = random._inst.seed
_ordinary = _rehearse()
