"""Functions from source text and values as JSON, for hosts that have no Python to pickle with."""

import json


def function(source, name):
    """The function `name` that `source` defines; what it returns comes back as JSON text."""
    namespace = {"__name__": "__main__"}
    exec(compile(source, "<source>", "exec"), namespace)
    called = namespace[name]
    return lambda *args: json.dumps(called(*args))


def arguments(text):
    """The pair of arguments for a call, of a JSON list."""
    return tuple(json.loads(text)), {}
