"""`guest-examples/granted/`: functions that ask for HTTP requests, packages or files, in both runtimes. Others run in the tests of the service."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import struct
import tempfile
import threading
import unittest
import zipfile
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import belljar

from . import support
from .test_requirements import Index, packages_folder

EXAMPLES = support.ROOT / "guest-examples/granted"
TOWNS = [{"name": "Bern", "people": 134}, {"name": "Basel", "people": 174}, {"name": "Chur", "people": 38}]


class Api(BaseHTTPRequestHandler):
    """Answers with towns, and has nothing else."""

    def do_GET(self):
        asked = urlsplit(self.path)
        is_found = asked.path == "/towns"
        least = int(parse_qs(asked.query).get("least", ["0"])[0])
        body = json.dumps([town for town in TOWNS if town["people"] >= least]).encode() if is_found else b"no"
        self.send_response(200 if is_found else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def installed(name):
    """A wheel of a package that is installed here, as its name and its content."""
    distribution = importlib.metadata.distribution(name)
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for path in distribution.files:
                if path.suffix != ".pyc" and ".." not in path.parts:
                    archive.write(path.locate(), str(path))
        file.seek(0)
        return f"{name}-{distribution.version}-py3-none-any.whl", file.read()


class Granted(unittest.TestCase):
    """Each in both runtimes: what it says of itself holds."""

    @classmethod
    def setUpClass(cls):
        api = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        cls.addClassCleanup(api.server_close)
        cls.addClassCleanup(api.shutdown)
        threading.Thread(target=api.serve_forever, daemon=True).start()
        cls.api = f"http://127.0.0.1:{api.server_port}"
        cls.index = Index()
        cls.addClassCleanup(cls.index.close)
        options = ["--requirements", cls.index.url, "--requirements-dir", packages_folder(cls)]
        service = support.Service("--grant-http", f"GET {cls.api}/*", *options)
        cls.addClassCleanup(service.stop)
        cls.executor = belljar.Executor(service.url)
        cls.addClassCleanup(cls.executor.shutdown)

    def check(self, name):
        source = (EXAMPLES / f"{name}.py").read_text().replace("{api}", self.api)
        said = dict(line.split(": ", 1) for line in source.split('"""')[1].splitlines() if ": " in line)
        names = {"__name__": "__main__"}
        exec(source, names)
        positional, keyword = ast.literal_eval(said["args"])
        asked = json.loads(said["with"])
        options = {**asked.get("grants", {}), **{name: asked[name] for name in ("requirements", "outputs") if name in asked}}
        left = []
        for runtime in ("native", "sandbox") if support.HAS_SANDBOX else ("native",):
            with self.subTest(runtime):
                expected = said["native"] if said[runtime] == "same" else said[runtime]
                executor = self.executor.options(runtime=runtime, **options)
                future = executor.submit(names[name], *positional, **keyword)
                self.assertEqual(f"value {future.result(60)!r}", expected)
                left += [future.files()] if "outputs" in asked else []
        return left

    def test_a_json_api_of_a_granted_host(self):
        self.check("call_json_api")

    def test_three_requests_at_once(self):
        self.check("gather_requests")

    def test_a_chart_that_comes_back_as_a_file(self):
        left = self.check("draw_chart")
        self.assertEqual([list(files) for files in left], [["chart.png"]] * len(left))
        for picture in (files["chart.png"] for files in left):
            self.assertTrue(picture.startswith(b"\x89PNG\r\n\x1a\n"))
            width, height = struct.unpack(">II", picture[16:24])
            start = picture.index(b"IDAT") + 4
            pixels = zlib.decompress(picture[start : start + int.from_bytes(picture[start - 8 : start - 4], "big")])
            lines = [pixels[at : at + 1 + 3 * width] for at in range(0, len(pixels), 1 + 3 * width)]
            self.assertEqual(len(lines), height)
            # The colours down the middle of each bar: white above it, as far as it is short.
            bars = [[line[1 + 3 * middle : 4 + 3 * middle] for line in lines].count(b"\x1f\x77\xb4") for middle in (12, 34, 56)]
            self.assertEqual(bars, [30, 10, 20])

    @unittest.skipUnless(importlib.util.find_spec("jinja2"), "jinja2 is not installed here: `make setup` does it for the default Python")
    def test_a_template_by_a_required_package(self):
        for package in ("jinja2", "markupsafe"):
            self.index.add(*installed(package))
        self.check("render_template")
