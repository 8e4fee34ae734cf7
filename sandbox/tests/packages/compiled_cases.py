"""What packages with compiled code give natively and in the sandbox: see record.py."""

EXPRESSIONS = r"""
[m.group("year") for m in regex.finditer(r"(?P<year>\d{4})-\d\d", "2024-01 and 1999-12")]
regex.findall(r"\p{Lu}\p{Ll}+", "Zürich Ünter alpha Bern")
regex.match(r"(?:(\w)(\d))+", "a1b2c3").captures(1), regex.match(r"(?P<n>\w)+", "abc").capturesdict()
regex.fullmatch(r"(?:cats|dogs){e<=2}", "dgs").fuzzy_counts
regex.sub(r"(?<=\d)(?=(\d{3})+$)", ",", "1234567"), regex.split(r"(?V1)(?=[A-Z])", "oneTwoThree")
regex.match(r"(\((?:[^()]|(?1))*\))", "(a(b)c)(d").group()
regex.compile(r"(?P<a>x)(?P<b>y)").groupindex, regex.match(r"(\w)(\w)", "ab").allcaptures(), regex.match(r"(\w)(\w)", "ab").allspans()
pickle.loads(pickle.dumps(regex.compile(r"a+"))).findall("aa b a"), copy.copy(regex.compile("a")).pattern
[m.detach_string() or m.string for m in regex.finditer("b", "abc")], regex.match("(a)(b)?", "a").lastindex, regex.match("a", "ab").regs
list(regex.compile("a").splititer("1a2a3")), [m.start() for m in iter(regex.compile("a").scanner("banana").search, None)]
regex.fullmatch(r"(x|xx)+[yz]", "x" * 60, timeout=0.1)
regex.compile("(")
[msgpack.unpackb(msgpack.packb(value)) for value in (None, True, -1, 2**63, 1.5, "ü", b"\0", [1, [2]], {"a": {"b": []}})]
msgpack.packb({"a": [1, 2.5, None], "b": b"x"}).hex()
list(msgpack.Unpacker(io.BytesIO(b"\x01\x93\x01\x02\x03\xa1a"))), msgpack.unpackb(msgpack.packb(datetime(2024, 1, 2, tzinfo=timezone.utc), datetime=True), timestamp=3)
msgpack.unpackb(msgpack.packb(msgpack.ExtType(5, b"abc"))), msgpack.Packer.__module__
msgpack.unpackb(b"\x91" * 3000)
msgpack.packb(nested(5000))
msgpack.unpackb(b"\xc1")
msgpack.packb(2**64)
yaml.load("a: [1, 2.5, yes, null, 2024-01-02]\nb: {c: 'x', d: \"\\u00fc\"}\ne: |\n  text\n", yaml.CSafeLoader)
yaml.dump({"b": [1, {"c": None}], "a": "ü", "t": "two\nlines"}, Dumper=yaml.CSafeDumper, allow_unicode=True)
list(yaml.load_all("--- 1\n--- &x [a]\n--- {k: v}\n", yaml.CSafeLoader)), yaml.load("a: &n [1]\nb: *n", yaml.CSafeLoader)
[type(event).__name__ for event in yaml.parse("[1]", yaml.CLoader)], [type(token).__name__ for token in yaml.scan("a: 1", yaml.CLoader)]
yaml.serialize(yaml.compose("a: [b]", yaml.CLoader), Dumper=yaml.CDumper), yaml.safe_load("- 1\n- [2]"), yaml.__with_libyaml__
yaml.load("a: *unknown", yaml.CSafeLoader)
yaml.load("a: [1", yaml.CSafeLoader)
yaml.load("!!python/object/apply:os.system [ls]", yaml.CSafeLoader)
markupsafe.escape("<a href='x'>&\"</a>"), markupsafe.escape("ü<"), markupsafe.escape("\U0001f600<"), markupsafe.escape("plain")
markupsafe.Markup("<b>%s</b>") % "<i>", markupsafe.Markup("&lt;x&gt;").unescape(), markupsafe.Markup("<p>a</p>").striptags()
markupsafe._escape_inner.__module__
hashlib.scrypt(b"password", salt=b"NaCl", n=1024, r=8, p=16, dklen=64).hex()
hashlib.scrypt(b"", salt=b"", n=16, r=1, p=1).hex()
hashlib.scrypt(bytearray(b"x"), salt=memoryview(b"y"), n=2, r=8, p=1, dklen=16).hex()
hashlib.scrypt(b"x", salt=b"y", n=3, r=8, p=1)
hashlib.scrypt(b"x", n=2, r=8, p=1)
hashlib.scrypt(b"x", salt=b"y", n=2, r=8)
hashlib.scrypt(b"x", salt=b"y", n=2, r=8, p=1, dklen=0)
hashlib.scrypt(b"x", salt=b"y", n=2, r=8, p=1, maxmem=-1)
hashlib.pbkdf2_hmac("sha512", b"password", b"salt", 3, 70).hex()
"""


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def f():
    import copy, hashlib, io, pickle
    from datetime import datetime, timezone

    import markupsafe, msgpack, regex, yaml

    return answers(EXPRESSIONS, {**globals(), **locals()})
