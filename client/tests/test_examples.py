"""Every example runs, and says what it should."""

import unittest

from . import support

EXAMPLES = support.ROOT / "client/examples"
EXPECTED = {
    "monte_carlo.py": r"^pi is about 3\.1\d\n$",
    "untrusted_plugin.py": r"^HELLO; it found 0 files and 0 variables\n$",
    "parameter_sweep.py": (
        r"(?s)(?=.*rate 2\.5, start 0\.2: 0\.6\n)(?=.*rate 2\.8, start 0\.6: 0\.643\n)"
        r"(?=.*rate 2\.5, start 1\.5: start is 1\.5: it must be between 0 and 1\n)"
    ),
    "agent_code.py": (
        r"(?s)the total is 45\n>>> while True: pass\nTaskTimeout: .*time limit of 1s\n"
        r">>> print\(open.*\nPermissionError: .*\n>>> print\(total\)\nNameError: name 'total' is not defined\n"
    ),
}


class Examples(unittest.TestCase):
    def test_every_example_does_what_it_says(self):
        self.assertEqual(set(EXPECTED), {path.name for path in EXAMPLES.glob("*.py")})
        for name, expected in EXPECTED.items():
            with self.subTest(name):
                if "sandbox" in (EXAMPLES / name).read_text() and not support.HAS_SANDBOX:
                    self.skipTest(f"the sandbox has no guest of Python {support.PYTHON}")
                ended = support.run_python("-W", "error", str(EXAMPLES / name), env={"BELLJAR_URL": support.shared()})
                self.assertEqual((ended.returncode, ended.stderr), (0, ""))
                self.assertRegex(ended.stdout, expected)
