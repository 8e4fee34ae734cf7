"""Text: joined, split, replaced, formatted."""


def strings(n):
    words = "the quick brown fox jumps over the lazy dog".split()
    text = " ".join(f"{word.upper()}{i + n}" for i in range(4_000) for word in words)
    return len(text.replace("O", "00")) + sum(len(word[::-1]) for word in text.split())
