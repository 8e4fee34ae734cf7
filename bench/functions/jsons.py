"""JSON, written and read."""


def jsons(n):
    import json

    data = [{"id": i + n, "name": f"n{i}", "tags": ["a", "b"], "x": i / 3} for i in range(4_000)]
    return sum(entry["id"] for entry in json.loads(json.dumps(data)))
