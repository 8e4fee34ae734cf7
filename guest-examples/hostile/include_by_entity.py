"""Has lxml read files and addresses by entities, DTDs, XInclude and XSLT, and write files by XSLT: none of them is there.

args: ((), {})
native: unsafe
sandbox: value []
sandbox-3.13: refused lxml
limits: timeout_s=10 memory_mb=128
"""


def include_by_entity():
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=True, load_dtd=True, no_network=False, huge_tree=True)
    places = ["/etc/passwd", "file:///etc/passwd", "../../etc/passwd", "/proc/self/environ", "/dev/zero", "http://169.254.169.254/latest/", "ftp://127.0.0.1/x"]
    xsl = "<xsl:stylesheet version='1.0' xmlns:xsl='http://www.w3.org/1999/XSL/Transform' xmlns:e='http://exslt.org/common' extension-element-prefixes='e'>"
    got = []

    def attempt(name, use):
        try:
            if use():
                got.append(name)
        except (etree.LxmlError, OSError):
            pass

    def transform(body):
        return str(etree.XSLT(etree.XML(f"{xsl}<xsl:template match='/'>{body}</xsl:template></xsl:stylesheet>"))(etree.XML("<a/>")))

    def include(place):
        document = etree.XML(f"<a xmlns:x='http://www.w3.org/2001/XInclude'><x:include href='{place}' parse='text'/></a>").getroottree()
        document.xinclude()
        return document.getroot().text

    for place in places:
        attempt(("entity", place), lambda: etree.fromstring(f"<!DOCTYPE a [<!ENTITY x SYSTEM '{place}'>]><a>&x;</a>", parser).text)
        attempt(("DTD", place), lambda: etree.fromstring(f"<!DOCTYPE a SYSTEM '{place}'><a/>", parser).getroottree().docinfo.externalDTD)
        attempt(("XInclude", place), lambda: include(place))
        attempt(("document", place), lambda: transform(f"<o><xsl:value-of select=\"document('{place}')\"/></o>").count("root"))
        attempt(("parse", place), lambda: etree.parse(place, parser))
    for place in ("/site/written", "/lib/written", "/etc/written", "http://127.0.0.1/written"):
        attempt(("write", place), lambda: transform(f"<e:document href='{place}'>x</e:document>") and open(place).read())
    return got
