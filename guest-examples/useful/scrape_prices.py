"""Takes prices out of an HTML page in windows-1251 by lxml, which the interpreters of the tests have in the sandbox only.

args: (("<meta charset=windows-1251><ul><li>Чай <b>4,50</b><li>Кофе <b class=sale>7,20 €</b></ul>",), {})
native: unsafe
sandbox: value [('Чай', 4.5, False), ('Кофе', 7.2, True)]
sandbox-3.13: refused lxml
"""


def scrape_prices(page):
    from lxml import html

    def price(node):
        return float(node.text.removesuffix(" €").replace(",", "."))

    # As a server of that page sends it.
    rows = html.fromstring(page.encode("windows-1251")).xpath("//li[b]")
    return [(row.text.strip(), price(row.find("b")), bool(row.xpath("b[@class = 'sale']"))) for row in rows]
