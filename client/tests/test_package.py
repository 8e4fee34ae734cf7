"""The package as its users get it."""

import inspect
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import venv
from pathlib import Path

import belljar

from . import support

TOOLS = support.ROOT / ".belljar/tools/bin/python"
SIX_LINES = """
import belljar
def double(x):
    return 2 * x
with belljar.Executor({arguments}) as executor:
    print(executor.submit(double, 21).result())
"""


class Names(unittest.TestCase):
    def test_the_public_names_are_those_that_are_listed(self):
        public = {name for name in vars(belljar) if not name.startswith("_") and not inspect.ismodule(vars(belljar)[name])}
        self.assertEqual(public, set(belljar.__all__))
        self.assertEqual(belljar.__all__, sorted(belljar.__all__, key=lambda name: (not name.isupper(), name)))

    def test_every_public_name_is_documented(self):
        for name in belljar.__all__:
            value = getattr(belljar, name)
            if not isinstance(value, str):
                self.assertTrue(value.__doc__, name)

    def test_every_error_is_drawn_in_the_tree(self):
        from belljar import _errors

        errors = [name for name, value in vars(belljar).items() if isinstance(value, type) and issubclass(value, BaseException)]
        for name in errors:
            base = getattr(belljar, name).__mro__[1].__name__
            self.assertIn(name, _errors.__doc__)
            self.assertTrue(name == "BelljarError" or base in _errors.__doc__, base)

    def test_importing_it_starts_nothing(self):
        script = "import belljar, threading; print(threading.active_count())"
        self.assertEqual(support.run_python("-c", script).stdout, "1\n")


class Distribution(unittest.TestCase):
    @unittest.skipUnless(TOOLS.is_file(), "`make tools` installs what packs it")
    def test_wheel_and_sdist_install_into_a_fresh_venv(self):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "client"
            shutil.copytree(support.ROOT / "client", source, ignore=shutil.ignore_patterns("__pycache__", ".mypy_cache"))
            build = [str(TOOLS), "-m", "hatchling", "build", "-d", folder]
            subprocess.run(build, cwd=source, check=True, capture_output=True)
            wheel, sdist = (next(Path(folder).glob(f"belljar-{belljar.__version__}{end}")) for end in ("-*.whl", ".tar.gz"))
            self.assertTrue(sdist.is_file())
            fresh = Path(folder) / "venv"
            venv.create(fresh, with_pip=True)
            python = str(fresh / "bin/python")
            pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--no-index", str(wheel)]
            subprocess.run(pip, check=True, capture_output=True)
            # Its dependencies from the venv of the tests: no index is asked.
            packages = next((fresh / "lib").glob("python*/site-packages"))
            (packages / "dependencies.pth").write_text(os.path.dirname(os.path.dirname(sys.modules["dill"].__file__)))
            self.assertTrue((packages / "belljar/py.typed").is_file())
            for arguments in ("", 'runtime="sandbox"')[: 1 + support.HAS_SANDBOX]:
                script = Path(folder) / "script.py"
                script.write_text(SIX_LINES.format(arguments=arguments))
                env = {**os.environ, "BELLJAR_URL": support.shared()}
                ended = subprocess.run([python, str(script)], capture_output=True, text=True, env=env, timeout=60)
                self.assertEqual((ended.stdout, ended.stderr), ("42\n", ""))

    def test_other_pythons_are_refused_in_the_sandbox_with_both_versions(self):
        script = (
            "import belljar\n"
            "try:\n"
            "    with belljar.Executor(runtime='sandbox') as executor: executor.submit(lambda: 1).result(30)\n"
            "except belljar.PythonMismatch as error: print(error)\n"
        )
        for python in sorted((support.ROOT / ".belljar/pythons").glob("*/bin/python")):
            if support.has_guest(python.parent.parent.name):
                continue
            with self.subTest(python=python):
                env = {**os.environ, "BELLJAR_URL": support.shared()}
                command = [str(python), "-W", "error", "-c", script]
                ended = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
                self.assertEqual(ended.stderr, "")
                self.assertRegex(ended.stdout, r"needs Python 3\.(9|10|12|13|14), and .* Python 3\.11")
