"""Counts the characters, words and lines of a text, and its most frequent words.

args: (("the cat\nsaw the dog\nand the bird",), {})
native: value {'characters': 32, 'words': 8, 'lines': 3, 'top': [('the', 3), ('cat', 1)]}
sandbox: same
"""


def text_statistics(text):
    from collections import Counter

    words = text.split()
    return {
        "characters": len(text),
        "words": len(words),
        "lines": len(text.splitlines()),
        "top": Counter(words).most_common(2),
    }
