"""Functions, classes and exceptions of a script give what plain Python gives: by every way, in both runtimes."""

import json
import subprocess
import sys
import unittest
from pathlib import Path

from . import support

FIELD = Path(__file__).parent / "field"
WAYS = ("package", "dill", "cloudpickle")
# What these picklers leave out when they write, so that the service cannot know it.
LIMITS = json.loads((FIELD / "limits.json").read_text())


class Field(unittest.TestCase):
    def check(self, runtime):
        for file in sorted(FIELD.glob("*_cases.py")):
            for way in WAYS:
                with self.subTest(f"{file.stem}, {way}"):
                    self.assertEqual(self.wrong(file, way, runtime), {})

    def wrong(self, file, way, runtime):
        ran = support.run_python(str(FIELD / "run.py"), str(file), way, support.shared(), runtime)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        _, wrong = json.loads(ran.stdout.splitlines()[-1])
        known = LIMITS.get(way, []) + LIMITS.get(f"{way} {runtime}", [])
        return {name: what for name, what in wrong.items() if name not in known}

    def test_native(self):
        self.check("native")

    @support.needs_sandbox
    def test_sandbox(self):
        self.check("sandbox")
