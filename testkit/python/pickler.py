"""Serializes for tests as clients do: one request a line, one answer a line, both JSON.

    {"dumps": SOURCE, "of": EXPRESSION, "by": PICKLER, "main": BOOL}  ->  {"text": PAYLOAD}
    {"loads": PAYLOAD}  ->  {"type": NAME, "repr": REPR, "notes": [NOTE, ...]}
    {"compile": SOURCE}  ->  {}

PICKLER is dill, dill-recurse, cloudpickle or pickle. SOURCE runs in `__main__` if `main` is true, else in a
namespace of its own, where all that it defines travels by value.
"""

import ast
import codecs
import functools
import json
import pickle
import sys

import cloudpickle
import dill

PICKLERS = {
    "dill": dill.dumps,
    "dill-recurse": functools.partial(dill.dumps, recurse=True),
    "cloudpickle": cloudpickle.dumps,
    "pickle": pickle.dumps,
}


def answer(request):
    if "compile" in request:
        compile(request["compile"], "script", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        return {}
    if "dumps" in request:
        namespace = globals() if request["main"] else {"__name__": "__main__"}
        exec(request["dumps"], namespace)
        pickled = PICKLERS[request["by"]](eval(request["of"], namespace))
        return {"text": codecs.encode(pickled, "base64").decode()}
    value = dill.loads(codecs.decode(request["loads"].encode(), "base64"))
    return {"type": type(value).__name__, "repr": repr(value), "notes": getattr(value, "__notes__", [])}


if __name__ == "__main__":
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)
