"""What the service calls data, this client reads."""

import importlib
import pathlib
import unittest

from belljar import _safe

TABLE = pathlib.Path(_safe.__file__).with_name("data_globals.txt")


def data_globals():
    for line in TABLE.read_text("utf-8").splitlines():
        module, _, names = line.partition(": ")
        if not module.startswith("#"):
            yield from ((module, name) for name in names.split())


def exists(module, name):
    try:
        return hasattr(importlib.import_module(module), name)
    except ImportError:
        return False


class Table(unittest.TestCase):
    def test_every_name_of_the_table_is_read(self):
        reader = _safe.SafeUnpickler(b"N.", None, (), is_exception=False)
        read = [reader.find_class(*name) for name in data_globals() if exists(*name)]
        self.assertGreater(len(read), 80)

    def test_no_name_of_the_table_is_a_function(self):
        for module, name in data_globals():
            if exists(module, name):
                found = getattr(importlib.import_module(module), name)
                self.assertTrue(isinstance(found, type) or found in (..., NotImplemented), f"{module}.{name}")


if __name__ == "__main__":
    unittest.main()
