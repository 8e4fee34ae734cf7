"""Changes what outlives a call in an ordinary interpreter: environment, directory, modules, builtins.

args: ((), {})
native: unsafe
sandbox: value ('1', '/lib')
"""


def change_environment():
    import builtins
    import math
    import os
    import sys

    os.environ["LEFT_BEHIND"] = "1"
    math.pi = 3
    builtins.len = lambda _: 0
    sys.modules["json"] = math
    sys.setrecursionlimit(50_000)
    try:
        os.chdir("/lib")
    except OSError as error:
        return type(error).__name__
    return os.environ["LEFT_BEHIND"], os.getcwd()
