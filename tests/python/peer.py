"""The Python side of the end-to-end tests: one request a line, one answer a line, both JSON.

    {"dumps": SOURCE, "of": EXPRESSION, "by": "dill" | "cloudpickle" | "pickle"}  ->  {"text": PAYLOAD}
    {"loads": PAYLOAD}  ->  {"type": NAME, "repr": REPR, "notes": [NOTE, ...]}

SOURCE runs in a namespace of its own, so what it defines travels by value, as from a client's script.
"""

import codecs
import json
import pickle
import sys

import cloudpickle
import dill

PICKLERS = {"dill": dill, "cloudpickle": cloudpickle, "pickle": pickle}


def answer(request):
    if "dumps" in request:
        namespace = {"__name__": "__main__"}
        exec(request["dumps"], namespace)
        value = eval(request["of"], namespace)
        pickled = PICKLERS[request.get("by", "dill")].dumps(value)
        return {"text": codecs.encode(pickled, "base64").decode()}
    value = dill.loads(codecs.decode(request["loads"].encode(), "base64"))
    return {"type": type(value).__name__, "repr": repr(value), "notes": getattr(value, "__notes__", [])}


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply), flush=True)
