"""Pickling there and back."""


def pickles(n):
    import pickle

    data = {f"key {i}": (i, [i + n, str(i)], {"even": i % 2 == 0}) for i in range(3_000)}
    return sum(entry[1][0] for entry in pickle.loads(pickle.dumps(data)).values())
