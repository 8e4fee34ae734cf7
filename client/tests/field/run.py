"""Runs the cases of one file as a script does, and prints what differs from plain Python, as JSON.

usage: run.py FILE WAY URL RUNTIME      WAY is package, dill or cloudpickle
"""

import asyncio as _asyncio
import codecs as _codecs
import inspect as _inspect
import json as _json
import subprocess as _subprocess
import sys as _sys
import urllib.request as _request
from pathlib import Path as _Path


class _Plain:
    """What a function gives in a process of its own: each case may change the globals."""

    @staticmethod
    def call(function, args):
        try:
            value = function(*args)
            return True, _asyncio.run(value) if _inspect.iscoroutine(value) else value
        except BaseException as error:
            return False, error


class _Package:
    def __init__(self, url, runtime):
        import belljar

        self.executor = belljar.Executor(url, runtime=runtime)
        self.is_exact = True

    def call(self, function, args):
        future = self.executor.submit(function, *args)
        error = future.exception(60)
        return error is None, future.result() if error is None else error


class _Rest:
    def __init__(self, url, runtime, dumps):
        self.url, self.runtime, self.dumps = url, runtime, dumps
        self.is_exact = False

    def post(self, path, **fields):
        request = _request.Request(self.url + path, _json.dumps(fields).encode(), {"Content-Type": "application/json"})
        return _json.load(_request.urlopen(request))

    def call(self, function, args):
        import dill

        def text(value):
            return _codecs.encode(self.dumps(value), "base64").decode()

        name = getattr(function, "__name__", "f")
        # Bytecode of 3.9 could be of 3.10 as well.
        python = "{}.{}".format(*_sys.version_info)
        fields = {"name": name, "payload": text(function), "runtime": self.runtime, "python": python}
        made = self.post("/register_function", **fields)
        task = self.post("/execute_function", function_id=made["function_id"], payload=text((args, {})))
        reply = _json.load(_request.urlopen(f"{self.url}/result/{task['task_id']}?wait=60"))
        value = dill.loads(_codecs.decode(reply["result"].encode(), "base64"))
        return reply["status"] == "COMPLETED", value


def _text(value):
    try:
        return str(value)
    except Exception as error:  # Its own __str__ may raise.
        return repr(error)


def _shape(value, seen=None):
    """What a value is, whatever class objects it is made of."""
    seen = {} if seen is None else seen
    cls = type(value)
    if isinstance(value, type):
        return f"class {value.__qualname__}"
    if value is None or value is ... or cls in (int, float, str, bytes, bool, complex):
        return repr(value)
    if id(value) in seen:
        return f"<again {seen[id(value)]}>"
    seen[id(value)] = len(seen)
    if isinstance(value, BaseException):
        state = {key: item for key, item in vars(value).items() if key not in ("__notes__", "lock", "trace")}
        args = ["?" if _inspect.isgenerator(a) or "generator" in _text(a) else _shape(a, seen) for a in value.args]
        # Pythons without notes show the remote traceback as a cause.
        is_note = type(value.__cause__).__name__ == "_Remote"
        cause, is_alone = (None, False) if is_note else (value.__cause__, value.__suppress_context__)
        chain = [_shape(cause, seen), _shape(value.__context__, seen)] + ([is_alone] if _sys.version_info >= (3, 11) else [])
        inside = [_shape(error, seen) for error in getattr(value, "exceptions", ())]
        text = "?" if "?" in args else _text(value)
        return [cls.__qualname__, text, args, _shape(state, seen), chain, inside]
    parts = [cls.__qualname__]
    if isinstance(value, dict):
        parts += [[_shape(key, seen), _shape(item, seen)] for key, item in value.items()]
    elif isinstance(value, (set, frozenset)):
        parts += sorted(str(_shape(item, seen)) for item in value)
    elif isinstance(value, (list, tuple)) or cls.__name__ == "deque":
        parts += [_shape(item, seen) for item in value]
    elif hasattr(value, "_value_") or not (hasattr(value, "__dict__") or hasattr(cls, "__slots__")):
        parts.append(str(getattr(value, "_value_", None) or repr(value)))
        return parts
    if hasattr(cls, "__slots__"):
        parts.append([_shape(getattr(value, name, None), seen) for name in cls.__slots__])
    parts.append({key: _shape(item, seen) for key, item in getattr(value, "__dict__", {}).items()})
    return parts


def _kinds(value, seen=None):
    """The classes in a value, by identity."""
    if isinstance(value, type):
        return [id(value)]
    seen = set() if seen is None else seen
    found = [id(type(value))]
    if id(value) in seen:
        return found
    seen.add(id(value))
    if isinstance(value, dict):
        found += [kind for item in [*value, *value.values()] for kind in _kinds(item, seen)]
    elif isinstance(value, (list, tuple)):
        found += [kind for item in value for kind in _kinds(item, seen)]
    return found


def _main(file, way, url, runtime):
    if way == "package":
        service = _Package(url, runtime)
    elif way == "dill":
        import dill

        service = _Rest(url, runtime, lambda value: dill.dumps(value, recurse=True))
    else:
        import cloudpickle

        service = _Rest(url, runtime, cloudpickle.dumps)
    for script in (_Path(file).with_name("definitions.py"), _Path(file)):
        exec(compile(script.read_text(), str(script), "exec"), globals())
    wrong, cases = {}, list(globals()["CASES"])
    # All calls before plain Python's: those may change the globals.
    came = []
    for name, function, args in cases:
        try:
            came.append(service.call(function, args))
        except BaseException as error:
            came.append((None, f"{type(error).__name__}: {error}"))
    for (name, function, args), (ok, value) in zip(cases, came):
        if ok is None:
            wrong[name] = value
            continue
        expected = _Plain.call(function, args)
        if (ok, _shape(value)) != (expected[0], _shape(expected[1])):
            wrong[name] = f"{_shape(value)} instead of {_shape(expected[1])}"
        elif service.is_exact and "Local" not in str(_shape(value)) and _kinds(value) != _kinds(expected[1]):
            wrong[name] = f"{_shape(value)} of other classes"
        elif service.is_exact and value is not expected[1] and hasattr(value, "_value_"):
            wrong[name] = f"{value!r} is another member"
    print(_json.dumps([len(cases), wrong]))


if __name__ == "__main__":
    _main(*_sys.argv[1:])
