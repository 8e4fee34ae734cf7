"""Counts, averages and spreads of the columns of a CSV table.

args: (("name,age,height\nAnn,31,1.7\nBob,45,1.8\nCid,38,1.75\n",), {})
native: value {'age': (3, 38, 38, 7.0), 'height': (3, 1.75, 1.75, 0.05)}
sandbox: same
"""


def summarize_csv(text):
    import csv
    import io
    import statistics

    columns = {}
    for row in csv.DictReader(io.StringIO(text)):
        for name, field in row.items():
            try:
                columns.setdefault(name, []).append(float(field) if "." in field else int(field))
            except ValueError:
                pass
    return {
        name: (len(values), statistics.mean(values), statistics.median(values), round(statistics.stdev(values), 9))
        for name, values in columns.items()
        if values
    }
