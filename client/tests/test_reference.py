"""The reference in `docs/` is what the docstrings say."""

import importlib.util
import unittest

from . import support


class Reference(unittest.TestCase):
    def test_it_is_up_to_date(self):
        spec = importlib.util.spec_from_file_location("reference", support.ROOT / "client/tools/reference.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        kept = (support.ROOT / "docs/reference/python-client.md").read_text()
        self.assertEqual(module.reference(), kept, "hint: `make reference` makes it")
