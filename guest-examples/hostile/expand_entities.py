"""Has lxml expand entities within entities, 10 GB of text: lxml refuses them, and where it is told not to, memory ends.

args: ((), {})
native: unsafe
sandbox: raises MemoryError
sandbox-3.13: refused lxml
limits: timeout_s=60 memory_mb=128
"""


def expand_entities():
    from lxml import etree

    levels = "".join(f"<!ENTITY e{level} '{f'&e{level - 1};' * 10}'>" for level in range(1, 10))
    bomb = f"<!DOCTYPE a [<!ENTITY e0 '{'ha' * 5}'>{levels}]><a>&e9;</a>"
    refused = False
    try:
        etree.fromstring(bomb)
    except etree.XMLSyntaxError:
        refused = True
    if refused:
        etree.fromstring(bomb, etree.XMLParser(huge_tree=True, resolve_entities=True))
