"""Reads a CSV table, quoted fields included, and sums one column by another.

args: (('city,year,people\n"Bern, BE",2023,134\nBasel,2023,174\n"Bern, BE",2024,137\n', "city", "people"), {})
native: value {'Basel': 174, 'Bern, BE': 271}
sandbox: same
"""


def sum_csv(text, by, column):
    import csv
    import io

    sums = {}
    for row in csv.DictReader(io.StringIO(text)):
        sums[row[by]] = sums.get(row[by], 0) + int(row[column])
    return dict(sorted(sums.items()))
