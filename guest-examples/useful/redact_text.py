"""Replaces what looks like a name or an address in a text, by regular expressions of the package regex.

args: (("Zoë Ünal <zoe@example.org> met Ómar (omar@example.com).",), {})
native: unsafe
sandbox: value ['[name] [name] <[address]> met [name] ([address]).', {'address': 2, 'name': 3}]
"""


def redact_text(text):
    import collections

    import regex

    found = collections.Counter()

    def replace(match):
        found[match.lastgroup] += 1
        return f"[{match.lastgroup}]"

    kinds = regex.compile(r"(?P<address>[\w.]+@[\w.]+\w)|(?P<name>\b\p{Lu}\p{Ll}+)")
    return [kinds.sub(replace, text, timeout=1), dict(sorted(found.items()))]
