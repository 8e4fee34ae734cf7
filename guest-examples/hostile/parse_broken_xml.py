"""Parses pages, documents, schemas, stylesheets and paths of which each time another place is overwritten: errors of lxml, or trees.

args: ((), {})
native: unsafe
sandbox: value ['LxmlError', 'read']
sandbox-3.13: refused lxml
limits: timeout_s=60 memory_mb=256
"""


def parse_broken_xml():
    import random

    from lxml import etree, html

    names = "http://www.w3.org/1999/XSL/Transform", "http://www.w3.org/2001/XMLSchema", "http://relaxng.org/ns/structure/1.0"
    document = b"<?xml version='1.0' encoding='%s'?><!DOCTYPE a [<!ENTITY x 'y'><!ELEMENT a (b|c)*><!ATTLIST a k ID #IMPLIED>]><a k='1'>&x;<b>t</b><![CDATA[d]]><?p i?><!--n--></a>"
    style = f"<s:stylesheet version='1.0' xmlns:s='{names[0]}'><s:key name='k' match='b' use='.'/><s:template match='/'><o n='{{1 + 2}}'><s:for-each select='//b[1]'><s:number/></s:for-each></o></s:template></s:stylesheet>"
    schema = f"<s:schema xmlns:s='{names[1]}'><s:element name='a'><s:complexType mixed='true'><s:sequence><s:element name='b' maxOccurs='9'><s:simpleType><s:restriction base='s:string'><s:pattern value='[a-z]{{1,3}}(x|y)*'/></s:restriction></s:simpleType></s:element></s:sequence></s:complexType></s:element></s:schema>"
    relax = f"<grammar xmlns='{names[2]}'><start><ref name='r'/></start><define name='r'><element name='a'><zeroOrMore><choice><ref name='r'/><text/></choice></zeroOrMore></element></define></grammar>"
    page = b"<!doctype html><meta charset=shift_jis><table><tr><td id=a>\x93\xfa<td>&eacute;<script>a<b</script><form><input name=q></form>"
    tree = etree.XML("<a><b>t</b><b>u</b></a>")
    ways = [(document % name, etree.fromstring) for name in (b"UTF-8", b"windows-1252", b"Shift_JIS", b"EUC-KR", b"UTF-7", b"ISO-2022-JP")]
    ways += [
        (document % b"UTF-8", lambda content: etree.fromstring(content, etree.XMLParser(recover=True, resolve_entities=True, dtd_validation=True, huge_tree=True))),
        (page, html.document_fromstring), (style.encode(), lambda content: etree.XSLT(etree.fromstring(content))(tree)),
        (schema.encode(), lambda content: etree.XMLSchema(etree.fromstring(content)).validate(tree)), (relax.encode(), lambda content: etree.RelaxNG(etree.fromstring(content)).validate(tree)),
        (b"//b[position() mod 2 = 1 and contains(string(.), 't')]/ancestor::*[last()] | /a/@*", lambda content: tree.xpath(content.decode("latin-1"))),
    ]
    chance, ends = random.Random(1), set()
    for given, use in ways:
        for _ in range(150):
            content = bytearray(given)
            for _ in range(chance.choice((1, 1, 4))):
                at = chance.randrange(len(content))
                content[at : at + chance.choice((1, 4))] = chance.choice((b"<", b"&", b"\xff\xfe", b"\0", b"]]>", b"'", b"(" * 9, b"&x;" * 50, chance.randbytes(3), bytes(content[at : at + 40]) * 20))
            try:
                use(bytes(content[: chance.choice((len(content), at + 9))]))
                ends.add("read")
            except etree.LxmlError:
                ends.add("LxmlError")
            except (ValueError, AttributeError, TypeError, AssertionError):
                pass
    return sorted(ends)
