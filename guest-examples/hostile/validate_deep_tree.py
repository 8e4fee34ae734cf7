"""Validates a document of 30,000 levels by lxml, whose C code goes into each level until the stack ends.

args: ((), {})
native: unsafe
sandbox: raises RecursionError containing stack limit
sandbox-3.13: refused lxml
limits: timeout_s=10 memory_mb=128
"""


def validate_deep_tree():
    from lxml import etree

    grammar = "<grammar xmlns='http://relaxng.org/ns/structure/1.0'><start><ref name='r'/></start><define name='r'>"
    grammar += "<element name='a'><optional><ref name='r'/></optional></element></define></grammar>"
    deep = etree.XML("<a>" * 30_000 + "</a>" * 30_000, etree.XMLParser(huge_tree=True))
    return etree.RelaxNG(etree.XML(grammar)).validate(deep)
