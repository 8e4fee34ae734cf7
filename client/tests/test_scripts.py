"""However Python comes to a function, it runs there: from a file, standard input, a module, a session or `exec`."""

import os
import tempfile
import unittest
from pathlib import Path

from . import support

SCRIPT = """
import dataclasses, math, os
import belljar

@dataclasses.dataclass
class Point:
    x: int

def moved(point):
    return Point(point.x + 1)

def function(point):
    return moved(point), isinstance(point, Point), math.sqrt(4), __name__

if __name__ == "__main__":
    with belljar.Executor(runtime=os.environ["RUNTIME"]) as executor:
        assert executor.submit(function, Point(1)).result(60) == (Point(2), True, 2.0, "__main__")
        print("right")
"""
RELATIVE = """
from .other import other
from . import other as module
import os, belljar

def function():
    return other(), module.other(), __package__

if __name__ == "__main__":
    with belljar.Executor(runtime=os.environ["RUNTIME"]) as executor:
        assert executor.submit(function).result(60) == ("other", "other", "package")
        print("right")
"""
DOCTEST = '''
import os, belljar
# The module travels, and runs there too.
EXECUTOR = belljar.Executor(runtime=os.environ.get("RUNTIME"))

def twice(x):
    """
    >>> EXECUTOR.submit(twice, 4).result(60)
    8
    >>> def local(x): return twice(x) + 1
    >>> EXECUTOR.submit(local, 4).result(60)
    9
    >>> class Local: pass
    >>> EXECUTOR.submit(lambda local: isinstance(local, Local), Local()).result(60)
    True
    """
    return 2 * x

if __name__ == "__main__":
    import doctest

    assert doctest.testmod().failed == 0
    print("right")
'''
SESSION = """
import os, belljar
executor = belljar.Executor(runtime=os.environ["RUNTIME"])
class A:
    y = 1

def of(a):
    return isinstance(a, A), a.y

executor.submit(of, A()).result(60)
A.y = 5
print("right" if executor.submit(of, A()).result(60) == (True, 5) else "wrong")
"""
DECORATED = """
import os, belljar, tasks
executor = belljar.Executor(runtime=os.environ["RUNTIME"])
assert tasks.double.options(executor=executor).remote(4) == 8
assert executor.submit(tasks.plain, 4).result(60) == 9
print("right")
"""
TASKS = """
import belljar

@belljar.function
def double(x):
    return 2 * x

@belljar.function(timeout=5)
def more(x):
    return double(x) + 1

def plain(x):
    return more(x)
"""
EXECUTED = """
import os, types, belljar
SOURCE = '''
import math
class K:
    z = 3
def a(n):
    return b(n) + 1
def b(n):
    return math.floor(n) + K.z
def c(k):
    return isinstance(k, K)
'''
module = types.ModuleType("made")
with belljar.Executor(runtime=os.environ["RUNTIME"]) as executor:
    for names in ({"__name__": "__main__"}, {"__name__": "cell"}, {}, vars(module)):
        exec(SOURCE, names)
        assert executor.submit(names["a"], 2.5).result(60) == 6, names["__name__"]
        assert executor.submit(names["c"], names["K"]()).result(60), names["__name__"]
print("right")
"""


class Scripts(unittest.TestCase):
    runtime = "native"

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        package = self.folder / "package"
        package.mkdir()
        for path, text in {
            self.folder / "script.py": SCRIPT,
            self.folder / "tested.py": DOCTEST,
            self.folder / "tasks.py": TASKS,
            self.folder / "decorated.py": DECORATED,
            package / "__init__.py": "",
            package / "script.py": SCRIPT,
            package / "relative.py": RELATIVE,
            package / "other.py": "def other(): return 'other'",
        }.items():
            path.write_text(text)

    def check(self, *arguments, folder=".", text=None):
        env = {"BELLJAR_URL": support.shared(), "RUNTIME": self.runtime}
        ran = support.run_python(*arguments, env=env, cwd=self.folder / folder, input=text)
        self.assertIn("right", ran.stdout, ran.stderr)
        return ran

    def test_a_script(self):
        self.check("script.py")
        self.check(os.path.join("..", "script.py"), folder="package")

    def test_a_text_on_the_command_line(self):
        self.check("-c", SCRIPT)

    def test_standard_input(self):
        self.check(text=SCRIPT)
        self.check("-", text=SCRIPT)

    def test_a_module(self):
        self.check("-m", "package.script")
        self.check("-m", "package.relative")

    def test_doctests(self):
        self.check("tested.py")
        ran = support.run_python(
            "-m", "doctest", "tested.py", cwd=self.folder, env={"BELLJAR_URL": support.shared(), "RUNTIME": self.runtime}
        )
        self.assertEqual((ran.returncode, ran.stdout), (0, ""), ran.stderr)

    def test_a_module_with_decorated_functions(self):
        self.check("decorated.py")

    def test_packages_that_pip_put_beside_the_script_stay_here(self):
        vendor = self.folder / "vendor"
        for path, text in {"lib.py": "f = len", "lib-1.dist-info": None, "sub/deep.py": "f = len", "sub/__init__.py": ""}.items():
            (vendor / path).parent.mkdir(parents=True, exist_ok=True)
            (vendor / path).write_text(text) if text is not None else (vendor / path).mkdir()
        script = "import sys; sys.path.append('vendor'); from belljar import _modules as m; import other, lib, sub.deep\n"
        script += "named = [m.path_of(n) is not None for n in ('other', 'lib', 'sub.deep')]\n"
        (self.folder / "other.py").write_text("")
        (self.folder / "vendored.py").write_text(script + "print('right' if named == [True, False, False] else named)")
        self.check("vendored.py")

    def test_a_session(self):
        self.check("-i", "-q", text=SESSION)

    def test_functions_made_by_exec(self):
        self.check("-c", EXECUTED)


@support.needs_sandbox
class SandboxedScripts(Scripts):
    runtime = "sandbox"
