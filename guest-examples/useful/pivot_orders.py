"""Joins orders with prices and makes a pivot table of them, by pandas, which the interpreters of the tests have in the sandbox only.

args: (([["Ann", "tea", 2], ["Bob", "tea", 1], ["Ann", "rice", 3], ["Bob", "salt", 5]], {"tea": 4.5, "rice": 2.0, "salt": 0.5}), {})
native: unsafe
sandbox: value {'Ann': {'rice': 6.0, 'salt': 0.0, 'tea': 9.0}, 'Bob': {'rice': 0.0, 'salt': 2.5, 'tea': 4.5}}
sandbox-3.13: refused pandas
"""


def pivot_orders(orders, prices):
    import pandas as pd

    table = pd.DataFrame(orders, columns=["who", "what", "count"])
    table = table.merge(pd.Series(prices, name="price"), left_on="what", right_index=True)
    table["cost"] = table["count"] * table["price"]
    return table.pivot_table(index="who", columns="what", values="cost", aggfunc="sum", fill_value=0).to_dict("index")
