"""What lxml gives natively and in the sandbox: see record.py. Natively with the libxml2 and libxslt that packages.toml names."""

EXPRESSIONS = r"""
etree.LXML_VERSION, etree.LIBXML_VERSION, etree.LIBXSLT_VERSION, sorted({"xmlschema", "schematron", "xpath", "html", "iconv", "regexp", "zlib", "catalog"} & etree.LIBXML_FEATURES)
[fromstring(f"<a>{text}</a>".encode(name), parser(name)).text == text for name, text in TEXTS.items()]
[fromstring(declared(name, text)).text == text for name, text in TEXTS.items()]
[digest(etree.tostring(fromstring(f"<a>{text}</a>"), encoding=name)) for name, text in TEXTS.items() if name not in ("HZ", "UTF-7")]
[etree.tostring(fromstring("<a>plain</a>"), encoding=name) for name in TEXTS if name not in ("HZ", "UTF-7")]
[fromstring(f"<a>{text}</a>").text == text for text in ("ascii", "Grüße", "Ελληνικά", "日本語", "𝒳 and 😀", "ü" * 50_000, "日" * 50_000, "😀" * 50_000)]
[fromstring(declared(name, TEXTS[name] * 9_000)).text == TEXTS[name] * 9_000 for name in ("windows-1251", "Shift_JIS", "GB18030", "ISO-2022-JP", "UTF-32LE", "UTF-7")]
[(text := TEXTS[name] * 9_000) == fromstring(etree.tostring(fromstring(f"<a>{text}</a>"), encoding=name)).text for name in ("windows-1251", "Shift_JIS", "GB18030", "ISO-2022-JP", "UTF-32")]
[etree.tostring(fromstring("<a b='ß'>Ω日😀</a>"), encoding=name) for name in ("ascii", "ISO-8859-1", "windows-1252", "cp437", "Shift_JIS", "KOI8-R", "GBK", "Big5", "EUC-KR", "ISO-8859-15", "UTF-16LE", "UTF-8")]
etree.tostring(fromstring("<a>" + "Ω" * 5_000 + "</a>"), encoding="windows-1252") == b"<?xml version='1.0' encoding='windows-1252'?>\n<a>" + b"&#937;" * 5_000 + b"</a>"
[fromstring(text.encode(name)).text for name in ("UTF-16", "UTF-32", "UTF-8-sig") for text in ("<a>Grüße 日本</a>",)], fromstring("<?xml version='1.0'?><a>Ω</a>".encode("UTF-32LE")).text
[fromstring(f"<?xml version='1.0' encoding='{name}'?><a>é</a>".encode("cp037")).text for name in ("IBM037", "cp037")]
[error(lambda: fed(declared(name, TEXTS[name]), size) == TEXTS[name]) for name in ("windows-1251", "Shift_JIS", "UTF-16LE", "EUC-KR") for size in (1, 2, 3, 7)]
html.fromstring(b"<html><head><meta charset='windows-1251'></head><body><p>\xcf\xf0\xe8\xe2\xe5\xf2</p></body></html>").findtext(".//p"), html.fromstring("<p>日本語 <b>fett</b>").text_content()
[error(lambda: fromstring(content).tag) for content in (declared("windows-1252", "a\x81", "latin-1"), declared("Shift_JIS", "\x81\xff", "latin-1"), declared("EUC-JP", "\x8f", "latin-1"), declared("UTF-8", "\xff", "latin-1"))]
[error(lambda: parser(name) and None) for name in ("base64", "rot13", "zlib", "unicode_escape", "idna", "nonsense", "")], error(lambda: fromstring(declared("nonsense", "a", "ascii")).tag), error(lambda: etree.tostring(tree, encoding="nonsense"))
etree.tostring(tree), etree.tostring(tree, pretty_print=True, xml_declaration=True, encoding="utf-8"), etree.tostring(tree, method="text", encoding=str), etree.tostring(tree, method="html")
[node.tag for node in tree.iter("*")], tree.xpath("count(//item)"), tree.xpath("//item[@n > 1]/text()"), tree.xpath("string(//b)"), tree.find("item").attrib, tree.findall(".//{urn:x}b")[0].prefix
tree.xpath("//item[re:test(., '^t', 'i')]/@n", namespaces={"re": "http://exslt.org/regular-expressions"}), etree.XPath("$v * 2")(tree, v=21), [node.getroottree().getpath(node) for node in tree.iter()]
str(etree.XSLT(fromstring(STYLE))(tree, name="'Ulm'")), [str(entry) for entry in failing_style().error_log]
schema.validate(fromstring("<r><n>1</n></r>")), schema.validate(fromstring("<r><n>x</n></r>")), [(entry.line, entry.type_name, entry.message) for entry in schema.error_log]
[etree.RelaxNG(fromstring(RELAX)).validate(fromstring(text)) for text in ("<r><n/></r>", "<r/>", "<r><m/></r>")], [etree.DTD(io.StringIO("<!ELEMENT r (n*)><!ELEMENT n EMPTY>")).validate(fromstring(text)) for text in ("<r><n/></r>", "<r>t</r>")]
[isoschematron.Schematron(fromstring(SCHEMATRON)).validate(fromstring(text)) for text in ("<r n='1'/>", "<r/>")], [error(lambda: etree.Schematron(fromstring(SCHEMATRON)).validate(fromstring(text))) for text in ("<r n='1'/>", "<r/>")]
etree.tostring(fromstring("<b z='1' a='2'><c/><!-- n --></b>"), method="c14n"), etree.canonicalize("<b z='1' a='2'> <c/> </b>", strip_text=True)
[(event, getattr(node, "text", node)) for event, node in etree.iterparse(io.BytesIO(etree.tostring(tree)), events=("start", "end", "start-ns", "comment"))], [event for event, _ in etree.iterwalk(tree, events=("end",))]
sax(), etree.fromstring("<a><b>1</b></a>", etree.XMLParser(target=Target())), etree.tostring(E.p("x", E.b("y"), id="1"))
objectify.fromstring("<a><n>1</n><n>2.5</n><s>x</s><b>true</b></a>").n[1] + 1, [type(child).__name__ for child in objectify.fromstring("<a><n>1</n><f>2.5</f><s>x</s><b>true</b></a>").iterchildren()]
[etree.tostring(node) for node in html.fragments_fromstring("<p>a<br>b<p class=x>c</p>tail<img src=i.png>")], html.document_fromstring("<table><tr><td>1<td>2</table>").xpath("//td/text()"), html.tostring(html.fromstring("<input disabled><script>a<b</script>"))
[link[2] for link in html.fromstring("<div><a href='/x'>x</a><img src='y.png'></div>").iterlinks()], etree.tostring(absolute()), dict(html.fromstring("<form action='/go'><input name=q value=1><select name=s><option selected>b</select></form>").form_values())
htmldiff("<p>one two</p>", "<p>one three</p>"), ElementInclude is not None, etree.tostring(included())
[error(lambda: fromstring(text).tag) for text in ("", "<a>", "<a></b>", "<a b=1/>", "<a>&x;</a>", "<a/><b/>", "<a xmlns:x='u'><y:b/></a>", "<\0a/>")]
etree.tostring(etree.fromstring("<a><b>&x;</c></a>", etree.XMLParser(recover=True))), [(entry.line, entry.column, entry.message) for entry in recovered().error_log]
bombed(), error(lambda: fromstring("<a>" * 300)), len(fromstring("<a>" * 2_000 + "</a>" * 2_000, etree.XMLParser(huge_tree=True)).xpath("//a")), error(lambda: fromstring("<a>" * 3_000, etree.XMLParser(huge_tree=True)))
[error(lambda: fromstring(f"<!DOCTYPE a [<!ENTITY x SYSTEM '{uri}'>]><a>&x;</a>", etree.XMLParser(resolve_entities=entities)).text) for entities in (True, False, "internal") for uri in ("file:///nowhere", "http://127.0.0.1/x")]
[error(lambda: etree.parse(uri).docinfo.URL) for uri in ("/nowhere/a.xml", "http://127.0.0.1:1/a.xml", "ftp://127.0.0.1/a")], resolved(), error(lambda: etree.XSLT(fromstring(STYLE.replace("<xsl:output", "<xsl:include href='none.xsl'/><xsl:output")))), written()
tree.xpath("//item[position() = last()]")[0].getprevious().getnext().getparent().index(tree[1]), [etree.tostring(node) for node in edited()], copy.deepcopy(tree)[0].tag, tree.makeelement("q").tag, etree.tostring(etree.strip_tags(taken := copy.deepcopy(tree), "item") or taken)
[str(etree.XSLT(fromstring(DATES))(fromstring(f"<d>{value}</d>"))) for value in ("2024-02-29T12:00:00Z", "nonsense")], tree.xpath("f:twice(21)", namespaces={"f": "urn:f"})
error(lambda: tree.xpath("//[")), error(lambda: tree.xpath("f:wrong()", namespaces={"f": "urn:f"})), error(lambda: tree.xpath("f:raises()", namespaces={"f": "urn:f"})), error(lambda: etree.Element("a b")), error(lambda: tree.set("a", "\0"))
"""


def f():
    import copy, hashlib, io

    from lxml import ElementInclude, etree, html, isoschematron, objectify
    from lxml.builder import E
    from lxml.html.diff import htmldiff

    fromstring = etree.fromstring
    TEXTS = {
        "windows-1252": "naïve €5", "windows-1250": "Łódź žluťoučký", "windows-1251": "Привет", "windows-1253": "Ελληνικά", "windows-1255": "שלום",
        "windows-1256": "مرحبا", "ISO-8859-2": "Łódź", "ISO-8859-5": "Привет", "ISO-8859-7": "Ελληνικά", "ISO-8859-15": "5 € œuvre", "KOI8-R": "Привет",
        "KOI8-U": "Київ", "CP437": "café ½", "CP866": "Привет", "macintosh": "café ∞", "Shift_JIS": "日本語カナｶﾅ", "EUC-JP": "日本語カナ", "ISO-2022-JP": "日本語 and カナ",
        "GBK": "汉字漢字", "GB2312": "汉字", "GB18030": "汉字€😀", "HZ": "汉字 and", "Big5": "漢字", "Big5-HKSCS": "漢字", "EUC-KR": "한국어", "CP949": "한국어 똠", "JOHAB": "한국어",
        "TIS-620": "ภาษาไทย", "UTF-7": "日本語 + ü", "UTF-16": "Grüße 😀", "UTF-16LE": "Grüße 😀", "UTF-16BE": "Grüße 😀", "UTF-32": "Grüße 😀", "UTF-32LE": "Grüße 😀", "UTF-32BE": "Grüße 😀",
        "UTF-8": "Grüße 😀", "ISO-8859-1": "Grüße", "US-ASCII": "plain",
    }
    tree = fromstring("<r xmlns:x='urn:x'><item n='1'>one</item><item n='2'>two</item><x:b>ü</x:b><!-- c --></r>")
    XSL = "xmlns:xsl='http://www.w3.org/1999/XSL/Transform' version='1.0'"
    STYLE = f"<xsl:stylesheet {XSL}><xsl:output method='text'/><xsl:param name='name'/><xsl:template match='/'>"
    STYLE += "<xsl:for-each select='//item'><xsl:sort select='@n' order='descending'/><xsl:value-of select='concat($name, @n, format-number(1234.5, \"#,##0.00\"))'/>,"
    STYLE += "</xsl:for-each><xsl:value-of select='generate-id(/) = generate-id(/)'/></xsl:template></xsl:stylesheet>"
    DATES = f"<xsl:stylesheet {XSL} xmlns:d='http://exslt.org/dates-and-times' xmlns:s='http://exslt.org/strings' xmlns:m='http://exslt.org/math'><xsl:template match='d'><o>"
    DATES += "<xsl:value-of select='concat(d:day-name(.), d:year(.), s:padding(3, \"-\"), m:max(//d))'/></o></xsl:template></xsl:stylesheet>"
    schema = "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'><xs:element name='r'><xs:complexType><xs:sequence>"
    schema += "<xs:element name='n' type='xs:integer' maxOccurs='9'/></xs:sequence></xs:complexType></xs:element></xs:schema>"
    schema = etree.XMLSchema(fromstring(schema))
    RELAX = "<element name='r' xmlns='http://relaxng.org/ns/structure/1.0'><oneOrMore><element name='n'><empty/></element></oneOrMore></element>"
    SCHEMATRON = "<schema xmlns='http://purl.oclc.org/dsdl/schematron'><pattern><rule context='r'><assert test='@n'>n is missing</assert></rule></pattern></schema>"

    def digest(content):
        return hashlib.sha256(content).hexdigest()[:12]

    def declared(name, text, written=None):
        return f"<?xml version='1.0' encoding='{name}'?><a>{text}</a>".encode(written or name)

    def parser(name):
        return etree.XMLParser(encoding=name)

    def fed(content, size):
        parser = etree.XMLPullParser()
        for at in range(0, len(content), size):
            parser.feed(content[at : at + size])
        return parser.close().text

    def error(use):
        try:
            return use()
        except Exception as failed:
            return type(failed).__name__, str(failed)

    def failing_style():
        style = etree.XSLT(fromstring(f"<xsl:stylesheet {XSL}><xsl:template match='/'><xsl:message>said</xsl:message><o/></xsl:template></xsl:stylesheet>"))
        style(tree)
        return style

    class Target:
        def __init__(self):
            self.said = []

        def start(self, tag, attributes):
            self.said.append(tag)

        def end(self, tag):
            self.said.append("/" + tag)

        def data(self, data):
            self.said.append(data)

        def close(self):
            return self.said

    def sax():
        from xml.sax.handler import ContentHandler

        from lxml.sax import ElementTreeContentHandler, saxify

        saxify(tree, handler := ElementTreeContentHandler())
        return etree.tostring(handler.etree), ContentHandler is not None

    def absolute():
        node = html.fromstring("<a href='../x?y=1'>x</a>")
        node.make_links_absolute("http://h/a/b/")
        return node

    def included():
        class Own(etree.Resolver):
            def resolve(self, url, public, context):
                return self.resolve_string("<in>cluded</in>", context) if url.endswith("part.xml") else None

        parser = etree.XMLParser()
        parser.resolvers.add(Own())
        document = fromstring("<a xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='part.xml'/></a>", parser).getroottree()
        document.xinclude()
        return document

    def recovered():
        parser = etree.XMLParser(recover=True)
        fromstring("<a>\n<b>&x;</c></a>", parser)
        return parser

    def bombed():
        levels = "".join(f"<!ENTITY e{level} '{f'&e{level - 1};' * 10}'>" for level in range(1, 10))
        return error(lambda: fromstring(f"<!DOCTYPE a [<!ENTITY e0 'ha'>{levels}]><a>&e9;</a>"))

    def resolved():
        class Own(etree.Resolver):
            def resolve(self, url, public, context):
                return self.resolve_string(f"<!ENTITY e '{url[-5:]}'>", context)

        parser = etree.XMLParser(load_dtd=True)
        parser.resolvers.add(Own())
        return fromstring("<!DOCTYPE a SYSTEM 'o.dtd'><a>&e;</a>", parser).text

    def written():
        import gzip

        tree.getroottree().write(file := io.BytesIO(), encoding="KOI8-R", compression=5)
        return etree.parse(io.BytesIO(gzip.decompress(file.getvalue()))).getroot().findtext("{urn:x}b")

    def edited():
        root = copy.deepcopy(tree)
        root.append(root[0])
        root.insert(0, etree.Comment("first"))
        root[1].addnext(etree.SubElement(root, "new", a="1"))
        root.remove(root[-1])
        etree.cleanup_namespaces(root)
        return list(root)

    functions = etree.FunctionNamespace("urn:f")
    functions["twice"] = lambda context, value: value * 2
    functions["raises"] = lambda context: 1 / 0
    return answers(EXPRESSIONS, {**globals(), **locals()})
