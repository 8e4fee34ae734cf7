"""Reads an XML document.

args: (("<shop><item price='3'>tea</item><item price='5'>cake</item></shop>",), {})
native: value {'tea': 3, 'cake': 5}
sandbox: same
"""


def parse_xml(text):
    import xml.etree.ElementTree as ET

    return {item.text: int(item.get("price")) for item in ET.fromstring(text).iter("item")}
