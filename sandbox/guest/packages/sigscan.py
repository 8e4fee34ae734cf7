"""Refuses C functions that CPython would call with another number of parameters than they take: sigscan.py FOLDER

Such a call is harmless on most machines and a trap in wasm. What is compared are tables of methods and of attributes, as they
are written in C, with the functions that they name.
"""

import re
import sys
from pathlib import Path

PARAMETERS = {
    frozenset(["NOARGS"]): 2, frozenset(["O"]): 2, frozenset(["VARARGS"]): 2, frozenset(["VARARGS", "KEYWORDS"]): 3,
    frozenset(["FASTCALL"]): 3, frozenset(["FASTCALL", "KEYWORDS"]): 4,
}
ENTRY = re.compile(r'\{\s*"(\w+)",\s*(?:\(PyCFunction\)\s*)?(?:\(void\s*\*\)\s*)?(\w+),\s*((?:METH_\w+\s*\|?\s*)+)')
ATTRIBUTE = re.compile(r'\{\s*"(\w+)",\s*\(getter\)\s*(\w+),\s*(?:\(setter\)\s*)?(\w+)')


def parameters_of(function, text):
    """How many parameters the function is defined with; None where it is not defined in this text."""
    defined = re.search(rf"\b{re.escape(function)}\s*\(([^;{{)]*(?:\([^)]*\)[^;{{)]*)*)\)\s*\{{", text)
    if defined is None:
        return None
    parameters = defined[1].strip()
    return 0 if parameters in ("", "void") else len(parameters.split(","))


def called(text):
    """The functions that tables in the text name, each with what it is and the parameters that it is called with."""
    for name, function, flags in ENTRY.findall(text):
        kind = frozenset(re.findall(r"METH_(\w+)", flags)) - {"STATIC", "CLASS", "COEXIST"}
        if kind in PARAMETERS:
            yield function, f"the method {name}", PARAMETERS[kind]
    for name, getter, setter in ATTRIBUTE.findall(text):
        yield getter, f"the attribute {name}", 2
        yield setter, f"the attribute {name}", 3


wrong = []
for path in sorted(Path(sys.argv[1]).rglob("*")):
    if not re.search(r"\.c(pp)?(\.src)?$", path.name) or "_tests." in path.name:
        continue
    text = path.read_text(errors="replace")
    for function, what, expected in called(text):
        count = parameters_of(function, text)
        if count is not None and count != expected:
            wrong.append(f"{path}: {function}, {what}, takes {count} parameters, not {expected}")
if wrong:
    sys.exit("\n".join(wrong))
