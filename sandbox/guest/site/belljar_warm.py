"""Unpickles a function ahead of its calls and imports what it names, so that the host can keep the interpreter as it is then."""

import dis
import gc
import random
import sys
from types import FunctionType

import runner
import runner_pickles

# Of the functions that a function brings along, so many are looked through for imports.
_FUNCTIONS = 200


def load(code):
    """Makes the function in `code` the one that `runner.run` calls without code. Whether every call could start from here."""
    before = _randomness()
    runner_pickles.begin()
    try:
        function = runner_pickles.loads(code)
        for arguments in _imports(function):
            try:
                __import__(*arguments)
            except Exception:
                pass  # The call will do it again, if it comes that far.
    except BaseException:
        return False
    runner.loaded = function
    gc.collect()
    # What is there now stays: the collector of a call need not look at it.
    gc.freeze()
    return _randomness() == before


def _randomness():
    """The states of the generators that every call gets seeded anew: what was drawn from them is a call's own."""
    numpy = sys.modules.get("numpy.random.mtrand")
    state = numpy and numpy._rand.get_state()
    return random.getstate(), state and (state[1].tobytes(), *state[2:])


def _imports(function):
    """What the import statements of a function say, and those of the functions of the script that come with it."""
    beside = getattr(function, "__globals__", {})
    functions = [function, *beside.values()] if beside.get("__name__") == "__main__" else [function]
    codes = [value.__code__ for value in functions[:_FUNCTIONS] if type(value) is FunctionType]
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if type(constant) is type(code)]
        level = names = None
        for step in dis.get_instructions(code):
            if step.opname == "IMPORT_NAME" and level == 0:
                yield step.argval, {}, {}, names or (), 0
            level, names = names, step.argval
