"""Measures a pickle before it is loaded: what a few bytes of it can claim costs memory or overflows the stack.

pickle in C believes what it reads: an index into its memo makes room for all below it, an empty set takes
two hundred times its one byte, and a deeply nested tuple overflows the stack when it is hashed.
"""

from __future__ import annotations

import re

_DEEPEST = 500
_ROOM_BYTES = 256 << 20
_ROOM_FACTOR = 40
# A whole list, or a batch of a long one, that holds nothing but numbers: it needs no look at each.
_NUMBERS = re.compile(rb"(?:[N\x88\x89]|K.|M..|J.{4}|G.{8}){0,2000}[eu]", re.DOTALL)
_FIXED = {ord(key): size for key, size in {"N": 0, "\x88": 0, "\x89": 0, "K": 1, "M": 2, "J": 4, "G": 8}.items()}
_COUNTED = {ord(key): width for key, width in {"\x8c": 1, "X": 4, "\x8d": 8, "C": 1, "B": 4, "\x8e": 8}.items()}
_COUNTED.update({0x8A: 1, 0x8B: 4, 0x96: 8})
_EMPTY = {ord("]"): 56, ord("}"): 64, ord(")"): 0, 0x8F: 216}
_TUPLES = {0x85: 1, 0x86: 2, 0x87: 3}
_TO_MARK = frozenset((ord("t"), ord("l"), ord("d"), 0x91))
_INTO_MARKED = frozenset((ord("e"), ord("u"), 0x90))
# How many values each takes from the stack, beside the one that it changes or replaces.
_INTO = {ord("a"): 1, ord("s"): 2, ord("b"): 1, ord("R"): 1, 0x81: 1, 0x92: 2, 0x93: 1}


class UnsafePickle(Exception):
    """It is no pickle that may be loaded, and why."""


def scan(data: bytes) -> bool:
    """Whether a pickle names globals. `UnsafePickle` says that loading it would cost too much, or cannot work."""
    try:
        return _Scan(data).run()
    except (IndexError, KeyError):
        raise UnsafePickle("it is broken") from None


class _Scan:
    """A pickle machine on which each value is how deeply it is nested."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._stack: list[int] = []
        self._marks: list[int] = []
        self._memo: dict[int, int] = {}
        self._room = _ROOM_BYTES + _ROOM_FACTOR * len(data)
        self._has_globals = False

    def run(self) -> bool:
        data, stack, marks, memo = self._data, self._stack, self._marks, self._memo
        at = 0
        while True:
            op = data[at]
            at += 1
            if op == 0x94:  # MEMOIZE
                memo[len(memo)] = stack[-1]
            elif op in _FIXED:
                stack.append(0)
                at += _FIXED[op]
            elif op in _COUNTED:
                at = self._counted(at, _COUNTED[op])
            elif op == 0x28:  # MARK
                numbers = _NUMBERS.match(data, at)
                if numbers:
                    at = numbers.end()
                    self._deepen(0)
                else:
                    marks.append(len(stack))
            elif op in _EMPTY:
                self._spend(_EMPTY[op])
                stack.append(1)
            elif op in _INTO:
                self._take(_INTO[op])
                self._has_globals |= op == 0x93
            elif op in _TUPLES:
                self._gather(len(stack) - _TUPLES[op])
            elif op in _TO_MARK:
                self._gather(marks.pop())
            elif op in _INTO_MARKED:
                inside = stack[marks[-1] :]
                del stack[marks.pop() :]
                self._deepen(max(inside, default=0))
            elif op == ord("h"):
                stack.append(memo[data[at]])
                at += 1
            elif op == ord("."):
                return self._has_globals
            else:
                at = self._rare(op, at)

    def _rare(self, op: int, at: int) -> int:
        data, stack = self._data, self._stack
        if op in (ord("j"), ord("r")):
            index = int.from_bytes(data[at : at + 4], "little")
            if op == ord("j"):
                stack.append(self._memo[index])
            else:
                self._put(index)
            return at + 4
        if op == ord("q"):
            self._put(data[at])
            return at + 1
        if op in (0x80, 0x95):  # PROTO, FRAME
            return at + (1 if op == 0x80 else 8)
        if op == ord("c"):
            self._has_globals = True
            stack.append(0)
            return data.index(b"\n", data.index(b"\n", at) + 1) + 1
        if op == ord("0"):
            stack.pop()
        elif op == ord("1"):
            del stack[self._marks.pop() :]
        elif op == ord("2"):
            stack.append(stack[-1])
        else:
            raise UnsafePickle(f"it has the opcode {op:#x}, which results do not have")
        return at

    def _put(self, index: int) -> None:
        if index > len(self._data):
            raise UnsafePickle(f"it claims to have {index} parts, more than it has bytes")
        self._memo[index] = self._stack[-1]

    def _counted(self, at: int, width: int) -> int:
        end = at + width + int.from_bytes(self._data[at : at + width], "little")
        if end > len(self._data):
            raise UnsafePickle(f"it claims a value of {end - at - width} bytes, more than it has")
        self._stack.append(0)
        return end

    def _spend(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise UnsafePickle("it would take far more memory than its size")

    def _gather(self, start: int) -> None:
        if start < 0:
            raise IndexError
        self._spend(56)
        depth = max(self._stack[start:], default=0) + 1
        del self._stack[start:]
        self._stack.append(depth)
        self._check(depth)

    def _take(self, count: int) -> None:
        deepest = max(self._stack[-count:])
        del self._stack[-count:]
        self._deepen(deepest)

    def _deepen(self, inside: int) -> None:
        depth = self._stack[-1] = max(self._stack[-1], inside + 1)
        self._check(depth)

    def _check(self, depth: int) -> None:
        if depth > _DEEPEST:
            raise UnsafePickle(f"it is nested more than {_DEEPEST} levels deep")
