"""Gives things names of their own: one that follows from their text, and one by chance.

args: (("https://example.com/towns",), {})
native: value ('777ee700-f9b9-520e-8ea9-402983a1a1ff', True, 4, True)
sandbox: same
reported: https://github.com/RustPython/RustPython/issues/4964: `uuid` could not be imported, since there was no `_signal`
"""


def name_things(text):
    import signal
    import uuid

    one, other = uuid.uuid4(), uuid.uuid4()
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text)), one != other, one.version, callable(signal.signal)
