"""Functions that ask for packages, which come from a package index on this machine."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import subprocess
import tempfile
import threading
import unittest
import urllib.request
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import belljar

from . import support


def wheel(name: str, version: str, modules: dict[str, str], needs: tuple[str, ...] = (), tag: str = "py3-none-any") -> tuple[str, bytes]:
    """A wheel, as its name and its content."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(f"Requires-Dist: {need}\n" for need in needs)
    files = {
        **modules,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
        file.seek(0)
        return f"{name}-{version}-{tag}.whl", file.read()


class Index:
    """A package index as a folder that is served, with pages as PEP 503 has them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="belljar-index-"))
        self.asked: list[str] = []
        index = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path.rpartition("/")[2])
                super().do_GET()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(self.folder)))
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, file: str, content: bytes, hashed: bool = True) -> None:
        """Adds a file, or puts another in its place without anybody being told."""
        project = self.folder / "simple" / file.split("-")[0].replace("_", "-")
        project.mkdir(parents=True, exist_ok=True)
        (project / file).write_bytes(content)
        if hashed:
            links = (f'<a href="{path.name}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}">{path.name}</a><br>' for path in
                     sorted(project.iterdir()) if path.suffix != ".html")
            (project / "index.html").write_text("<!DOCTYPE html><html><body>" + "\n".join(links) + "</body></html>")

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.folder)


def packages_folder(case: type[unittest.TestCase]) -> str:
    """A folder for packages, whose read-only parts go with the tests."""
    folder = tempfile.mkdtemp(prefix="belljar-packages-")
    case.addClassCleanup(shutil.rmtree, folder, True)
    case.addClassCleanup(subprocess.run, ["chmod", "-R", "u+w", folder], check=True)
    return folder


def greet():
    import greeting

    return greeting.hello()


def sees_other_versions():
    """What lies beside the packages of a call: nothing of another set."""
    import sys

    import greeting

    # Native ones share a process only with calls of the same set.
    return greeting.VERSION, sorted(name for name in sys.modules if name.startswith(("greeting", "courtesy")))


def spoil():
    import greeting

    with open(greeting.__file__, "a") as file:
        file.write("VERSION = 'spoiled'")


def import_numpy():
    import numpy

    return int(numpy.arange(4).sum())


support.as_of_a_script(globals())


class Offered(unittest.TestCase):
    """A service that offers an index."""

    runtime = "native"

    @classmethod
    def setUpClass(cls):
        cls.index = Index()
        cls.addClassCleanup(cls.index.close)
        for version in ("1.0", "2.0"):
            code = f"import courtesy\nVERSION = '{version}'\ndef hello(): return courtesy.FORM + ' ' + VERSION\n"
            cls.index.add(*wheel("greeting", version, {"greeting.py": code}, ("courtesy>=1",)))
        cls.index.add(*wheel("courtesy", "1.5", {"courtesy.py": "FORM = 'hello'\n"}))
        cls.index.add(*wheel("old_python", "1.0", {"old_python.py": ""}, ('nowhere; python_version < "3"',)))
        cls.index.add(*wheel("compiled", "1.0", {"compiled.so": ""}, tag="cp27-cp27m-win32"))
        cls.index.add(*wheel("needs_compiled", "1.0", {"needs_compiled.py": ""}, ("compiled",)))
        cls.index.add("source-1.0.tar.gz", b"")
        cls.dir = packages_folder(cls)
        cls.service = support.Service("--requirements", cls.index.url, "--requirements-dir", cls.dir)
        cls.addClassCleanup(cls.service.stop)
        executor = belljar.Executor(cls.service.url, runtime=cls.runtime)
        cls.addClassCleanup(executor.shutdown)
        cls.executor = executor

    def requiring(self, *requirements):
        return self.executor.options(requirements=requirements)

    def refused(self, *requirements):
        """Why the registration of a function with these is refused."""
        error = self.requiring(*requirements).submit(greet).exception(60)
        self.assertIsInstance(error, belljar.InvalidRequest)
        return str(error)

    def test_a_function_imports_what_it_requires_and_what_that_needs(self):
        self.assertEqual(self.requiring("greeting==1.0").submit(greet).result(60), "hello 1.0")

    def test_functions_have_their_own_versions(self):
        for version in ("1.0", "2.0", "1.0", "2.0"):
            said = self.requiring(f"greeting=={version}").submit(sees_other_versions).result(60)
            self.assertEqual(said, (version, ["courtesy", "greeting"]))
        error = self.executor.submit(greet).exception(60)
        self.assertIsInstance(error, ModuleNotFoundError)

    def test_markers_mean_the_python_that_runs_the_function(self):
        self.requiring("old-python").submit(len, "four").result(60)

    def test_what_was_chosen_is_in_the_record_of_the_function(self):
        future = self.requiring("greeting<2").submit(greet)
        self.assertEqual(future.result(60), "hello 1.0")
        with urllib.request.urlopen(f"{self.service.url}/v1/functions?name=greet") as answer:
            found = [item for item in json.load(answer)["items"] if item.get("requirements") == ["greeting<2"]]
        packages = {item["file"]: item["sha256"] for item in found[0]["packages"]}
        self.assertEqual(sorted(packages), ["courtesy-1.5-py3-none-any.whl", "greeting-1.0-py3-none-any.whl"])
        content = (self.index.folder / "simple/courtesy/courtesy-1.5-py3-none-any.whl").read_bytes()
        self.assertEqual(packages["courtesy-1.5-py3-none-any.whl"], hashlib.sha256(content).hexdigest())

    def test_the_same_packages_are_installed_once(self):
        def ask(number):
            import counted

            return number, counted.VERSION

        self.index.add(*wheel("counted", "1.7", {"counted.py": "VERSION = '1.7'"}))
        # Chosen twice, since the ranges differ; of two slots, one installs.
        for requirement in ("counted==1.7", "counted>1.5,<2"):
            answers = list(self.requiring(requirement).map(ask, range(20)))
            self.assertEqual(answers, [(number, "1.7") for number in range(20)])
        asked = self.index.asked.count("counted-1.7-py3-none-any.whl")
        self.assertLessEqual(asked, 3, "two choices and one installation")

    def test_a_package_is_named_that_cannot_be_had(self):
        self.assertIn("`unheard-of` is not on the package index", self.refused("unheard-of"))
        self.assertRegex(self.refused("greeting==9"), r"`greeting==9` is not on the package index, which has the versions 1\.0")
        self.assertIn("`source` has no wheel, only source", self.refused("source"))
        said = self.refused("greeting==1.0", "courtesy<1")
        self.assertRegex(said, "`courtesy<1`|contradict")

    def test_compiled_code_is_named_with_the_reason(self):
        said = self.refused("needs-compiled")
        self.assertIn("`compiled`, which `needs-compiled` needs, has no", said)
        self.assertIn("wheel for this machine", said)

    def test_only_names_and_versions_are_requirements(self):
        for text in ("greeting @ file:///etc/passwd", "--index-url=http://localhost", "-r/etc/passwd", "./greeting", "greeting; extra == 'x'"):
            self.assertIn("is no requirement", self.refused(text))

    def test_a_file_that_changed_since_is_not_installed(self):
        self.index.add(*wheel("changing", "1.0", {"changing.py": ""}))
        future = self.requiring("changing").options(retries=0)
        held = future.submit(len, "four")
        self.assertEqual(held.result(60), 4)
        self.index.add(*wheel("changing", "2.0", {"changing.py": ""}))
        chosen = self.requiring("changing==2.0").options(retries=0, delay=1.5).submit(len, "four")
        self.assertTrue(support.eventually(lambda: chosen.task_id))
        self.index.add(*wheel("changing", "2.0", {"changing.py": "import os"}), hashed=False)
        error = chosen.exception(60)
        self.assertIsInstance(error, belljar.ExecutorDied)
        self.assertRegex(str(error), "packages of the function cannot be installed.*(HASHES|hash)")

    def test_no_function_can_change_the_packages_of_others(self):
        requiring = self.requiring("greeting==2.0")
        if self.runtime == "sandbox":
            self.assertIsInstance(requiring.submit(spoil).exception(60), OSError)
        self.assertEqual(requiring.submit(greet).result(60), "hello 2.0")
        folders = [path for path in Path(self.dir).rglob("greeting.py")]
        self.assertTrue(folders)
        self.assertEqual({path.stat().st_mode & 0o222 for path in folders}, {0})

    def test_a_call_in_the_other_runtime_is_refused(self):
        other = {"native": "sandbox", "sandbox": "native"}[self.runtime]
        register = {"name": "f", "payload": "gASVFAAAAAAAAACMCGJ1aWx0aW5zlIwDbGVulJOULg==", "requirements": ["courtesy"],
                    "runtime": self.runtime, "python": support.PYTHON}
        function_id = self.post("/register_function", register)["function_id"]
        body = {"function_id": function_id, "payload": "gASVCQAAAAAAAABLAoWUfZSGlC4=\n", "runtime": other}
        with self.assertRaises(urllib.error.HTTPError) as raised:
            self.post("/execute_function", body)
        self.assertEqual(raised.exception.code, 422)
        raised.exception.close()

    def post(self, path, body):
        request = urllib.request.Request(self.service.url + path, json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


@support.needs_sandbox
class OfferedInSandbox(Offered):
    """The same in the sandbox, where packages must be pure."""

    runtime = "sandbox"

    def test_compiled_code_is_named_with_the_reason(self):
        said = self.refused("needs-compiled")
        self.assertRegex(said, "`compiled`, which `needs-compiled` needs, has no pure Python wheel.* it has: .*dill")

    def test_what_the_sandbox_has_is_taken_as_it_is(self):
        self.index.add(*wheel("needs_numpy", "1.0", {"needs_numpy.py": ""}, ("numpy>=1.26",)))
        self.assertEqual(self.requiring("needs-numpy").submit(import_numpy).result(60), 6)
        self.assertRegex(self.refused("numpy==1.26.0"), r"numpy==1\.26\.0; the sandbox has numpy==2")


    def test_calls_of_a_session_import_what_they_require_and_it_stays(self):
        with self.executor.session() as plain:
            session = self.requiring("greeting==1.0").session(id=plain.id)
            session.run("x = 1")
            # Where nothing is required there is no such directory, which imports remember.
            plain.run("try: import nowhere\nexcept ImportError: pass")
            self.assertEqual(session.submit(greet).result(60), "hello 1.0")
            self.assertEqual(plain.run("import greeting; greeting.hello(), x"), ("hello 1.0", 1))


class NotOffered(unittest.TestCase):
    """A service that offers no index."""

    def test_the_operator_is_named(self):
        with belljar.Executor(support.shared(), runtime="native") as executor:
            error = executor.options(requirements=["greeting"]).submit(greet).exception(60)
        self.assertIsInstance(error, belljar.InvalidRequest)
        self.assertIn("packages are not offered here", str(error))
        self.assertIn("--requirements", str(error))
