"""Checks an invoice in XML by a schema and makes a page of it by XSLT, by lxml, which the interpreters of the tests have in the sandbox only.

args: (('<invoice><line price="2.50" count="4">Tee</line><line price="3" count="x">Brot</line></invoice>',), {})
native: unsafe
sandbox: value ("attribute 'count': 'x' is not a valid value", '<ul><li>Tee: 10.00</li></ul>')
sandbox-3.13: refused lxml
"""


def check_invoice(text):
    from lxml import etree

    schema = etree.XMLSchema(etree.XML("""
      <xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
        <xs:element name="line"><xs:complexType><xs:simpleContent><xs:extension base="xs:string">
          <xs:attribute name="price" type="xs:decimal" use="required"/><xs:attribute name="count" type="xs:positiveInteger" use="required"/>
        </xs:extension></xs:simpleContent></xs:complexType></xs:element>
        <xs:element name="invoice"><xs:complexType><xs:sequence><xs:element ref="line" maxOccurs="unbounded"/></xs:sequence></xs:complexType></xs:element>
      </xs:schema>"""))
    page = etree.XSLT(etree.XML("""
      <xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
        <xsl:output method="html" indent="no"/>
        <xsl:template match="/invoice"><ul><xsl:apply-templates select="line[number(@count) > 0]"/></ul></xsl:template>
        <xsl:template match="line"><li><xsl:value-of select="concat(., ': ', format-number(@price * @count, '0.00'))"/></li></xsl:template>
      </xsl:stylesheet>"""))
    invoice = etree.fromstring(text)
    schema.validate(invoice)
    found = schema.error_log[0].message
    return found[found.index("attribute") : found.index(" of the")], str(page(invoice)).strip()
