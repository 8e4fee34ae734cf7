"""Tables of pandas, which the sandbox has: what they come to is read as data; a table itself is loaded by trust only."""

import importlib.util
import unittest

import belljar

from . import support

HAS_PANDAS = importlib.util.find_spec("pandas") is not None


def functions():
    """Functions within one travel by value: the sandbox has not what this file imports."""

    def totals(text):
        import io

        import pandas as pd

        return pd.read_csv(io.StringIO(text)).groupby("place")["sold"].sum().to_dict()

    def table(rows):
        import pandas as pd

        return pd.DataFrame(rows, columns=["place", "sold"])

    def column_sum(frame):
        return float(frame["sold"].sum())

    return totals, table, column_sum


totals, table, column_sum = functions()


@unittest.skipUnless(support.PYTHON == "3.11", "pandas is in the guest of 3.11")
class Tables(unittest.TestCase):
    """The service is shared."""

    @classmethod
    def setUpClass(cls):
        cls.executor = belljar.Executor(support.shared(), runtime="sandbox")

    @classmethod
    def tearDownClass(cls):
        cls.executor.shutdown()

    def test_plain_values_come_back_as_they_are(self):
        value = self.executor.submit(totals, "place,sold\nKöln,3\nBonn,4\nKöln,5\n").result(60)
        self.assertEqual(value, {"Bonn": 4, "Köln": 8})

    def test_a_table_is_refused_and_the_way_out_named(self):
        with self.assertRaisesRegex(belljar.UntrustedResult, "pandas.*trusted"):
            self.executor.submit(table, [["Köln", 3]]).result(60)

    @unittest.skipIf(HAS_PANDAS, "pandas is here")
    def test_a_trusted_table_needs_pandas_here(self):
        trusting = self.executor.options(results="trusted")
        with self.assertRaisesRegex(belljar.SerializationError, "No module named 'pandas'"):
            trusting.submit(table, [["Köln", 3]]).result(60)

    @unittest.skipUnless(HAS_PANDAS, "no pandas here")
    def test_a_trusted_table_is_the_same_here_and_there(self):
        rows = [["Köln", 3], ["Bonn", 4]]
        trusting = self.executor.options(results="trusted")
        self.assertTrue(trusting.submit(table, rows).result(60).equals(table(rows)))
        self.assertEqual(self.executor.submit(column_sum, table(rows)).result(60), 7.0)
