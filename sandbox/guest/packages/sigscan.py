"""Refuses C functions that CPython would call with another number of parameters than they take: sigscan.py FOLDER

Such a call is harmless on most machines and a trap in wasm. What is compared are tables of methods, as they are
written in C, with the functions that they name.
"""

import re
import sys
from pathlib import Path

PARAMETERS = {
    frozenset(["NOARGS"]): 2, frozenset(["O"]): 2, frozenset(["VARARGS"]): 2, frozenset(["VARARGS", "KEYWORDS"]): 3,
    frozenset(["FASTCALL"]): 3, frozenset(["FASTCALL", "KEYWORDS"]): 4,
}
ENTRY = re.compile(r'\{\s*"(\w+)",\s*(?:\(PyCFunction\)\s*)?(?:\(void\s*\*\)\s*)?(\w+),\s*((?:METH_\w+\s*\|?\s*)+)')

wrong = []
for path in sorted(Path(sys.argv[1]).rglob("*")):
    if not re.search(r"\.c(pp)?(\.src)?$", path.name) or "_tests." in path.name:
        continue
    text = path.read_text(errors="replace")
    for name, function, flags in ENTRY.findall(text):
        kind = frozenset(re.findall(r"METH_(\w+)", flags)) - {"STATIC", "CLASS", "COEXIST"}
        defined = re.search(rf"\b{re.escape(function)}\s*\(([^;{{)]*(?:\([^)]*\)[^;{{)]*)*)\)\s*\{{", text)
        if defined is None or kind not in PARAMETERS:
            continue
        parameters = defined[1].strip()
        count = 0 if parameters in ("", "void") else len(parameters.split(","))
        if count != PARAMETERS[kind]:
            wrong.append(f"{path}: {function}, the method {name}, takes {count} parameters, not {PARAMETERS[kind]}")
if wrong:
    sys.exit("\n".join(wrong))
