# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Reads live objects that somebody wrote down as JSON, one at a time: a dump may be larger than the memory for it."""

from __future__ import annotations

import gzip
import io
import json
import re
import typing as t
import zlib
from collections.abc import Iterator

from .._core.errors import InvalidInput
from .normalise import Object

_CHUNK: t.Final = 1 << 20
_TEXT: t.Final = re.compile(r"[^ \t\r\n]")
_FIX: t.Final = (
    "give what kubectl get -o json writes: a list, lists one after the other or in a list, or one object a line."
)
_DEPTH: t.Final = 20


class Keep(t.Protocol):
    """Returns what is needed of an object, or nothing."""

    def __call__(self, one: Object, /) -> Object | None:
        """Look at one object."""


class _Text:
    """The text of a dump, of which only the part that is being read is in memory."""

    def __init__(self, stream: t.BinaryIO, where: str) -> None:
        raw = io.BufferedReader(t.cast(io.RawIOBase, stream))
        # Compressed files are known by their first two bytes.
        plain = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw
        self._file = io.TextIOWrapper(t.cast(t.BinaryIO, plain), encoding="utf-8-sig")
        self._where = where
        self._buffer, self._at, self._ended = "", 0, False
        self._scan = json.JSONDecoder().raw_decode

    def wrong(self, why: str) -> InvalidInput:
        return InvalidInput(f"{self._where} {why}.", item="dump", rule="dump", fix=_FIX)

    def _more(self) -> bool:
        if self._ended:
            return False
        # The longer the rest, the more is read at once, so that a long value is not tried again and again.
        rest = len(self._buffer) - self._at
        try:
            new = self._file.read(max(_CHUNK, rest))
        except UnicodeDecodeError:
            raise self.wrong("is not UTF-8") from None
        except (OSError, EOFError, zlib.error):
            raise self.wrong("cannot be read: it is cut off or damaged") from None
        self._ended = not new
        self._buffer, self._at = self._buffer[self._at :] + new, 0
        return bool(new)

    def peek(self) -> str:
        """Return the next character that is no white space; nothing at the end."""
        while True:
            match = _TEXT.search(self._buffer, self._at)
            if match is not None:
                self._at = match.start()
                return match.group()
            self._at = len(self._buffer)
            if not self._more():
                return ""

    def take(self, expected: str) -> None:
        """Go past a character that must come."""
        if self.peek() != expected:
            raise self.wrong(f"is no JSON of Kubernetes objects ({expected!r} is missing somewhere)")
        self._at += 1

    def value(self) -> t.Any:
        """Read a whole value."""
        self.peek()
        while True:
            try:
                value, end = self._scan(self._buffer, self._at)
            except (ValueError, RecursionError):
                if not self._more():
                    raise self.wrong("is no JSON, or is cut off") from None
                continue
            if end == len(self._buffer) and self._more():
                continue  # a number may go on
            self._at = end
            return value


def objects(stream: t.BinaryIO, where: str, keep: Keep) -> Iterator[Object]:
    """Yield the objects of a dump, of each only what *keep* returns; lists are taken apart, how deep they may lie.

    :param where: the dump, for errors. :param keep: returns what is needed of an object, or nothing.
    :raises InvalidInput: when it is no JSON or no dump.
    """
    text = _Text(stream, where)
    if not text.peek():
        raise text.wrong("is empty")
    while text.peek():
        yield from _any(text, keep, 0)


def _any(text: _Text, keep: Keep, depth: int) -> Iterator[Object]:
    if depth > _DEPTH:
        raise text.wrong("has lists in lists without an end")
    if text.peek() == "[":
        yield from _elements(text, keep, depth)
    elif text.peek() == "{":
        yield from _object(text, keep, depth)
    else:
        raise text.wrong("is no JSON of Kubernetes objects")


def _elements(text: _Text, keep: Keep, depth: int) -> Iterator[Object]:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        yield from _any(text, keep, depth + 1)
        if text.peek() == "]":
            text.take("]")
            return
        text.take(",")


def _object(text: _Text, keep: Keep, depth: int) -> Iterator[Object]:
    one: Object = {}
    listed = False
    waiting: list[Object] = []
    text.take("{")
    while text.peek() != "}":
        key = text.value()
        text.take(":")
        if key == "items" and text.peek() == "[":
            listed = True
            # Lists that the API server writes name the kind before the items, and the items don't.
            name = _element_kind(one)
            for item in _elements(text, lambda found, name=name: _kept(found, keep, name), depth):
                if item.get("kind"):
                    yield item
                else:
                    waiting.append(item)
        else:
            one[key] = text.value()
        if text.peek() == ",":
            text.take(",")
        elif text.peek() != "}":
            text.take("}")
    text.take("}")
    if not listed:
        kept = keep(one) if one.get("kind") else one
        if kept is not None:
            yield kept
        return
    kind = _element_kind(one)
    if kind:
        # Says that such objects were asked for, even if there is none.
        yield {"kind": f"{kind}List"}
    for item in waiting:
        kept = keep({**item, "kind": kind}) if kind else None
        if kept is not None:
            yield kept


def _element_kind(one: Object) -> str:
    kind = one.get("kind")
    return kind.removesuffix("List") if isinstance(kind, str) and kind != "List" else ""


def _kept(one: Object, keep: Keep, kind: str) -> Object | None:
    if one.get("kind"):
        return keep(one)
    return keep({**one, "kind": kind}) if kind else one
