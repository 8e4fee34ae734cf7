"""Turns a JSON document of orders into totals by customer.

args: (('{"orders": [{"by": "ann", "sum": 3}, {"by": "bob", "sum": 4}, {"by": "ann", "sum": 5}]}',), {})
native: value '{"ann": 8, "bob": 4}'
sandbox: same
"""


def transform_json(text):
    import json

    totals = {}
    for order in json.loads(text)["orders"]:
        totals[order["by"]] = totals.get(order["by"], 0) + order["sum"]
    return json.dumps(totals, sort_keys=True)
