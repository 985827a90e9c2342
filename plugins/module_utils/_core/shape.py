# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Checks plain data against a JSON Schema of the few keywords that we use, and names the first breach for people.

A schema says by ``x-rule``, ``x-message`` and ``x-fix`` what a broken pattern means, and by ``x-secret`` that the value
is not repeated. Modules run where there may be no
``jsonschema``; tests hold both against each other.
"""

from __future__ import annotations

import difflib
import functools
import re
import typing as t
from collections.abc import Mapping, Sequence

from .errors import InvalidInput

Schema = dict[str, t.Any]

#: Keywords that decide; a test looks that the schemas use no others.
KEYWORDS: t.Final = frozenset(
    {
        "type",
        "const",
        "enum",
        "pattern",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "items",
        "minItems",
        "maxItems",
        "uniqueItems",
        "properties",
        "patternProperties",
        "required",
        "additionalProperties",
        "minProperties",
        "maxProperties",
        "if",
        "then",
        "else",
        "$ref",
    }
)
#: Keywords that say something and decide nothing.
WORDS: t.Final = frozenset(
    {"$schema", "$id", "$defs", "title", "description", "examples", "x-rule", "x-message", "x-fix", "x-secret"}
)
#: A declaration is small. More than that is an alias in YAML that stands for ever more of itself.
DEPTH: t.Final = 12
VALUES: t.Final = 20_000

_TYPES: t.Final[Mapping[str, str]] = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "boolean": "true or false",
}


# -- writing a schema ----------------------------------------------------------------------------------------------


def pattern(regex: str, rule: str, message: str, fix: str, **more: t.Any) -> Schema:
    """Return the schema of a text with a form."""
    return {"type": "string", "pattern": f"^(?:{regex})$", "x-rule": rule, "x-message": message, "x-fix": fix, **more}


def record(properties: Mapping[str, Schema], required: t.Sequence[str] = (), **more: t.Any) -> Schema:
    """Return the schema of a mapping with these keys and no others."""
    made: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False, **more}
    if required:
        made["required"] = list(required)
    return made


def listed(items: Schema, **more: t.Any) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items, "maxItems": 50, **more}


def said(description: str, schema: Schema) -> Schema:
    """Return *schema* with a description first."""
    return {"description": description, **schema}


def ref(name: str) -> Schema:
    """Return a reference to a definition."""
    return {"$ref": f"#/$defs/{name}"}


def choice(values: tuple[str, ...]) -> Schema:
    """Return the schema of one of *values*."""
    return {"type": "string", "enum": list(values)}


# -- checking ------------------------------------------------------------------------------------------------------


def is_type(value: t.Any, name: str) -> bool:
    """Say whether *value* has a type of JSON Schema."""
    if name == "boolean":
        return isinstance(value, bool)
    if name == "integer":
        return (isinstance(value, int) and not isinstance(value, bool)) or (
            isinstance(value, float) and value.is_integer()
        )
    kinds: Mapping[str, type | tuple[type, ...]] = {"object": Mapping, "array": (list, tuple), "string": str}
    return isinstance(value, kinds[name])


def shown(value: t.Any) -> str:
    """Return *value* for a message: only what is short and plain."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return repr(value) if len(value) <= 80 and "\n" not in value else "this text"
    if value is None:
        return "nothing"
    return "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, (list, tuple)) else "this"


def validate(value: t.Any, schema: Mapping[str, t.Any], *, item: str) -> None:
    """Raise for the first breach, in the order in which the declaration is written.

    :param item: name of the whole; places below it are written ``item: a.b[2].c``.
    :raises InvalidInput: with place, rule and fix.
    """
    _Walk(schema, item).one(value, schema, "", 0)


def place(item: str, path: str) -> str:
    """Return a place as errors name it."""
    return f"{item}: {path}" if path else item


def _same(one: t.Any, other: t.Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


class _Walk:
    def __init__(self, root: Mapping[str, t.Any], item: str) -> None:
        self._root = root
        self._item = item
        self._seen = 0

    def _fail(self, path: str, rule: str, message: str, fix: str) -> t.NoReturn:
        raise InvalidInput(message, item=place(self._item, path), rule=rule, fix=fix)

    def _resolved(self, schema: Mapping[str, t.Any]) -> Mapping[str, t.Any]:
        while "$ref" in schema:
            schema = self._root["$defs"][str(schema["$ref"]).rpartition("/")[2]]
        return schema

    def one(self, value: t.Any, schema: Mapping[str, t.Any], path: str, depth: int) -> None:
        """Check one value and what is in it."""
        schema = self._resolved(schema)
        self._seen += 1
        if depth > DEPTH or self._seen > VALUES:
            self._fail(path, "too-large", "is nested too deeply or holds too much.", "write it out, without aliases.")
        self._scalar(value, schema, path)
        if isinstance(value, Mapping):
            self._mapping(value, schema, path, depth)
        elif isinstance(value, (list, tuple)):
            self._list(value, schema, path, depth)
        if "if" in schema:
            branch = schema.get("then" if self._fits(value, schema["if"]) else "else")
            if branch is not None:
                self.one(value, branch, path, depth + 1)

    def _fits(self, value: t.Any, schema: Mapping[str, t.Any]) -> bool:
        try:
            _Walk(self._root, self._item).one(value, schema, "", 0)
        except InvalidInput:
            return False
        return True

    def _scalar(self, value: t.Any, schema: Mapping[str, t.Any], path: str) -> None:
        if "type" in schema and not is_type(value, schema["type"]):
            wanted = _TYPES[schema["type"]]
            # a text in the wrong place may be a password
            found = "a text" if isinstance(value, str) else shown(value)
            self._fail(path, "type", f"is {found}, not {wanted}.", f"write it as {wanted}.")
        if "const" in schema and not _same(value, schema["const"]):
            self._fail(path, "value", f"is {shown(value)}.", f"write {shown(schema['const'])}.")
        if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
            choices = ", ".join(str(one) for one in schema["enum"])
            self._fail(path, "value", f"is {shown(value)}, which is not allowed.", f"one of {choices}.")
        if isinstance(value, str):
            self._text(value, schema, path)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            low, high = schema.get("minimum"), schema.get("maximum")
            if (low is not None and value < low) or (high is not None and value > high):
                self._fail(path, "range", f"is {shown(value)}.", f"give a number from {low} to {high}.")

    def _text(self, value: str, schema: Mapping[str, t.Any], path: str) -> None:
        short, long = schema.get("minLength", 0), schema.get("maxLength")
        if len(value) < short or (long is not None and len(value) > long):
            self._fail(
                path,
                "length",
                "is empty." if not value else f"has {len(value)} characters.",
                f"give {short} to {long} characters." if long else "give a value, or leave the key out.",
            )
        if "pattern" in schema and not _compiled(schema["pattern"]).fullmatch(value):
            text = "this text" if schema.get("x-secret") else shown(value)
            self._fail(path, schema["x-rule"], f"{text} {schema['x-message']}", schema["x-fix"])

    def _mapping(self, value: Mapping[t.Any, t.Any], schema: Mapping[str, t.Any], path: str, depth: int) -> None:
        known: Mapping[str, Mapping[str, t.Any]] = schema.get("properties", {})
        patterns: Mapping[str, Mapping[str, t.Any]] = schema.get("patternProperties", {})
        rest = schema.get("additionalProperties", True)
        for key, inner in value.items():
            below = f"{path}.{key}" if path else str(key)
            wanted: Mapping[str, t.Any] | None = known.get(key) if isinstance(key, str) else None
            if wanted is None and isinstance(key, str):
                wanted = next((s for p, s in patterns.items() if _compiled(p).fullmatch(key)), None)
            if wanted is None and isinstance(rest, Mapping):
                wanted = rest
            if wanted is None and rest is False:
                self._fail(below, "unknown-key", "is not a key of the declaration.", _meant(str(key), list(known)))
            if wanted is not None:
                self.one(inner, wanted, below, depth + 1)
        for key in schema.get("required", ()):
            if key not in value:
                self._fail(f"{path}.{key}" if path else key, "missing-key", "is missing.", f"add {key}.")
        self._count(len(value), schema.get("minProperties"), schema.get("maxProperties"), path, schema)

    def _list(self, value: Sequence[t.Any], schema: Mapping[str, t.Any], path: str, depth: int) -> None:
        self._count(len(value), schema.get("minItems"), schema.get("maxItems"), path, schema)
        if "items" in schema:
            for index, inner in enumerate(value):
                self.one(inner, schema["items"], f"{path}[{index}]", depth + 1)
        if schema.get("uniqueItems"):
            for index, inner in enumerate(value):
                if any(_same(inner, other) for other in value[:index]):
                    self._fail(f"{path}[{index}]", "twice", f"{shown(inner)} is there twice.", "write it once.")

    def _count(self, count: int, low: int | None, high: int | None, path: str, schema: Mapping[str, t.Any]) -> None:
        if (low is None or count >= low) and (high is None or count <= high):
            return
        allowed = f"{low or 0} to {high}" if high is not None else f"at least {low}"
        self._fail(
            path,
            schema.get("x-rule", "length"),
            f"has {count} entries; {allowed} are allowed.",
            schema.get("x-fix", f"give {allowed}."),
        )


def _meant(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return "remove it; known are " + ", ".join(known) + "." if known else "remove it."
