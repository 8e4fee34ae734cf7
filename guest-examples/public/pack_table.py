"""Writes a table of pandas as a CSV compressed by lzma and reads it back. The interpreters of the tests have pandas in the sandbox only.

args: ((["Bern", "Chur"], [134, 38]), {})
native: unsafe
sandbox: value (b'\xfd7zXZ\x00', {'town': ['Bern', 'Chur'], 'people': [134, 38]})
sandbox-3.13: refused pandas
limits: memory_mb=256
reported: https://github.com/jupyterlite/jupyterlite/issues/273: pandas warned that `lzma` is missing, and could not compress by it
"""


def pack_table(towns, people):
    import tempfile
    import warnings

    import pandas as pd

    with tempfile.NamedTemporaryFile(suffix=".csv.xz") as file, warnings.catch_warnings():
        warnings.simplefilter("error")
        pd.DataFrame({"town": towns, "people": people}).to_csv(file.name, index=False)
        return file.read(6), pd.read_csv(file.name).to_dict("list")
