"""Decodes text of encodings that are older than Unicode.

args: ((b"Z\xfcrich", ["latin1", "cp1252", "iso8859-15", "utf-16"]), {})
native: value ([True, True, True, True], b'Z&#252;rich')
sandbox: same
reported: https://github.com/demergent-labs/kybra/issues/12: the encoding latin1 was missing, and `os`
"""


def decode_latin(data, names):
    text = data.decode(names[0])
    return [text.encode(name).decode(name) == text for name in names], text.encode("ascii", "xmlcharrefreplace")
