"""Sorts by two keys, merges sorted lists and picks the largest with a heap.

args: (([5, 1, 9, 7], [8, 2, 6]), {"top": 3})
native: value ([1, 2, 5, 6, 7, 8, 9], [9, 8, 7], ['kiwi', 'plum', 'apple', 'orange'])
sandbox: same
"""


def merge_and_rank(one, other, top):
    import heapq

    merged = list(heapq.merge(sorted(one), sorted(other)))
    fruit = sorted(["plum", "orange", "kiwi", "apple"], key=lambda name: (len(name), name))
    return merged, heapq.nlargest(top, merged), fruit
