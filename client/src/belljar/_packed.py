"""MessagePack, as far as bodies of the service need it: values go into it and come out without base64.

Our own, because a library copies what it packs and unpacks, and values are large here.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Mapping, Union

# Pickles of this size on travel as bytes; below, JSON costs the client less.
BINARY_BYTES = 8 * 1024

# What a bare pickle is in memory: one that came in a large answer is a part of that.
Pickled = Union[bytes, memoryview]

# Without what `json.loads` does around it, which takes longer than a small body itself.
_decode = json.JSONDecoder().raw_decode
_U16, _U32 = struct.Struct(">H"), struct.Struct(">I")
# Of each byte that begins a value of a fixed size: how large that is, and how it is read.
_FIXED = {
    **{0xCA + at: struct.Struct(form) for at, form in enumerate((">f", ">d", ">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q"))},
}
_SINGLE = {0xC0: None, 0xC2: False, 0xC3: True}
# How many bytes say how long it is.
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}


class Packed:
    """A body of MessagePack in pieces, which are put together only when it is sent."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.pieces: list[Pickled] = []
        self._head = bytearray()
        self._add(fields)
        self.pieces.append(bytes(self._head))

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def _add(self, value: Any) -> None:
        head = self._head
        if isinstance(value, str):
            text = value.encode()
            head += (b"\xdb" + _U32.pack(len(text)) if len(text) > 31 else bytes([0xA0 | len(text)])) + text
        elif isinstance(value, bytes):
            head += b"\xc6" + _U32.pack(len(value))
            if len(value) < BINARY_BYTES:
                head += value
            else:
                self.pieces += (bytes(head), value)
                head.clear()
        elif value is None or isinstance(value, bool):
            head.append({None: 0xC0, False: 0xC2, True: 0xC3}[value])
        elif isinstance(value, int):
            head += b"\xd3" + struct.pack(">q", value)
        elif isinstance(value, float):
            head += b"\xcb" + struct.pack(">d", value)
        elif isinstance(value, Mapping):
            head += b"\xdf" + _U32.pack(len(value))
            for key, item in value.items():
                self._add(key)
                self._add(item)
        else:
            head += b"\xdd" + _U32.pack(len(value))
            for item in value:
                self._add(item)


def loads(body: Union[bytes, bytearray]) -> Any:
    """A body of JSON or of MessagePack, which its first byte tells apart: JSON is ASCII there."""
    if body[:1] < b"\x80":
        text = body.decode()
        # That takes no space in front of the value, and stops behind it: what follows is for the other to refuse.
        value, end = _decode(text) if text[:1] == "{" else (None, -1)
        return value if end == len(text) else json.loads(text)
    try:
        return _Reader(body).value()
    except (IndexError, struct.error, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no MessagePack: {error!r}") from error


class _Reader:
    def __init__(self, body: Union[bytes, bytearray]) -> None:
        self._body = memoryview(body)
        self._at = 0

    def value(self) -> Any:
        kind = self._body[self._at]
        self._at += 1
        if kind < 0x80:
            return kind
        if kind >= 0xE0:
            return kind - 0x100
        if kind < 0x90:
            return self._map(kind & 0x0F)
        if kind < 0xA0:
            return self._list(kind & 0x0F)
        if kind < 0xC0:
            return str(self._take(kind & 0x1F), "utf-8")
        if kind in _SINGLE:
            return _SINGLE[kind]
        if kind in _FIXED:
            return _FIXED[kind].unpack(self._take(_FIXED[kind].size))[0]
        length = int.from_bytes(self._take(_LENGTHS[kind]), "big")
        if kind <= 0xC6:
            view = self._take(length)
            return view if length >= BINARY_BYTES else bytes(view)
        if kind <= 0xDB:
            return str(self._take(length), "utf-8")
        return self._list(length) if kind <= 0xDD else self._map(length)

    def _take(self, length: int) -> memoryview:
        taken = self._body[self._at : self._at + length]
        if len(taken) < length:
            raise IndexError("it is cut")
        self._at += length
        return taken

    def _list(self, length: int) -> list[Any]:
        return [self.value() for _ in range(length)]

    def _map(self, length: int) -> dict[Any, Any]:
        return {self.value(): self.value() for _ in range(length)}


def has_names(pickled: Pickled) -> bool:
    """Whether a pickle of protocol 4 or 5 may name something: modules, classes, functions."""
    return in_frames(pickled, b"\x93")


def in_frames(pickled: Pickled, sought: bytes) -> bool:
    """Whether a pickle of protocol 4 or 5 has these bytes anywhere but in large bytes and texts. Those stand between its frames and are
    passed over: they hold every byte, and are slow to look through."""
    if len(pickled) < _UNFRAMED_BYTES:
        return sought in bytes(pickled)
    at = 0
    while at < len(pickled):
        kind = pickled[at]
        if kind in _BEFORE_LARGE:
            width = _BEFORE_LARGE[kind]
            at += 1 + width + int.from_bytes(pickled[at + 1 : at + 1 + width], "little")
        elif kind == 0x95:  # FRAME
            end = at + 9 + int.from_bytes(pickled[at + 1 : at + 9], "little")
            if sought in bytes(pickled[at + 9 : end]):
                return True
            at = end
        elif kind in _BESIDE_LARGE:
            at += _BESIDE_LARGE[kind]
        else:
            return sought in bytes(pickled[at:])
    return False


# pickle writes values of this size on outside of its frames.
_UNFRAMED_BYTES = 64 * 1024
# BINBYTES, BINBYTES8, BINUNICODE, BINUNICODE8, BYTEARRAY8, and how many bytes say how long they are.
_BEFORE_LARGE = {0x42: 4, 0x8E: 8, 0x58: 4, 0x8D: 8, 0x96: 8}
# What may stand beside those, too short for a frame, and how long it is: PROTO, MEMOIZE, MARK, small numbers and the like.
_BESIDE_LARGE = {**dict.fromkeys(b"(])}Nseuatld\x85\x86\x87\x88\x89\x8f\x90\x91\x94\x97\x98", 1), **dict.fromkeys(b"\x80Kh", 2)}
