"""Uses dataclasses of its own.

args: (([("tea", 2, 350), ("cake", 1, 480)],), {})
native: value ("[Line(what='tea', count=2, cents=350), Line(what='cake', count=1, cents=480)]", 1180)
sandbox: same
"""


def invoice_total(rows):
    from dataclasses import dataclass, field

    @dataclass(frozen=True)
    class Line:
        what: str
        count: int
        cents: int

    @dataclass
    class Invoice:
        lines: list = field(default_factory=list)

        @property
        def total(self):
            return sum(line.count * line.cents for line in self.lines)

    invoice = Invoice([Line(*row) for row in rows])
    return repr(invoice.lines).replace("invoice_total.<locals>.", ""), invoice.total
