"""Statistics of a CSV by pandas: what each place sold, by month. The interpreters of the tests have pandas in the sandbox only.

args: (("day,place,sold\n2024-01-05,Köln,3\n2024-01-20,Bonn,4.5\n2024-02-01,Köln,\n2024-02-11,Köln,8\n",), {})
native: unsafe
sandbox: value {'rows': 4, 'missing': 1, 'mean': 5.1667, 'places': {'Bonn': 4.5, 'Köln': 11.0}, 'months': {'2024-01': 7.5, '2024-02': 8.0}}
sandbox-3.13: refused pandas
"""


def describe_csv(text):
    import io

    import pandas as pd

    table = pd.read_csv(io.StringIO(text), parse_dates=["day"])
    return {
        "rows": len(table),
        "missing": int(table["sold"].isna().sum()),
        "mean": round(float(table["sold"].mean()), 4),
        "places": table.groupby("place")["sold"].sum().to_dict(),
        "months": table.groupby(table["day"].dt.strftime("%Y-%m"))["sold"].sum().to_dict(),
    }
