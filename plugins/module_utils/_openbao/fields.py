# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Tables of fields: what a server's object consists of, how each field is checked, compared and sent.

A table maps a field's name to its :class:`Field`. Parsing brings every notation of a value (``1h``, ``60m``, ``3600``)
to one canonical form, so that comparing is ``==`` and a second run has nothing to do.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import re
import typing as t

from .._core.errors import InvalidInput, check

Kind = t.Literal["duration", "int", "bool", "str", "set", "list", "map", "pem", "pems", "cidrs"]

_UNITS: t.Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)", re.ASCII)
_TRUE: t.Final = ("true", "yes", "on", "1")
_FALSE: t.Final = ("false", "no", "off", "0")


@dataclasses.dataclass(frozen=True)
class Field:
    """One field.

    :ivar kind: how it is parsed and compared.
    :ivar default: what the server takes when nothing was given; also what omission in a declaration means.
    :ivar choices: allowed values, empty for any.
    :ivar fixed: can be given when the object is created, never changed.
    :ivar shown: the server returns it, so it can be compared; otherwise it is only sent.
    :ivar public: its value may appear in a diff.
    """

    kind: Kind = "str"
    default: t.Any = None
    choices: tuple[str, ...] = ()
    fixed: bool = False
    shown: bool = True
    public: bool = True

    @property
    def empty(self) -> t.Any:
        """The canonical form of the default."""
        if self.default is not None:
            return self.default
        return {
            "duration": 0,
            "int": 0,
            "bool": False,
            "str": "",
            "set": [],
            "list": [],
            "map": {},
            "pem": "",
            "pems": [],
            "cidrs": [],
        }[self.kind]


Table = t.Mapping[str, Field]


def seconds(value: t.Any, *, item: str) -> int:
    """Return a duration in seconds: a number, ``3600``, ``1h``, ``1h30m``, ``1.5h``, ``2d``, with a sign if need be.

    :raises InvalidInput: when it is none, or not a whole number of seconds.
    """
    if isinstance(value, bool):
        text = str(value)
    elif isinstance(value, int):
        return value
    else:
        text = str(value).strip().lower()
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    if digits.isascii() and digits.isdigit():
        return sign * int(digits)
    parts = _PART.findall(digits)
    if digits and "".join(n + u for n, u in parts) == digits:
        total = 0.0
        for number, unit in parts:
            total += float(number) * _UNITS[unit]
        if total % 1000 == 0:
            return sign * int(total // 1000)
    raise InvalidInput(
        f"{str(value)!r} is not a duration of whole seconds.",
        item=item,
        rule="duration",
        fix="write seconds or a number with a unit: 3600, 60m, 1h, 2d.",
    )


def _bool(value: t.Any, item: str) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    check(
        text in _TRUE + _FALSE,
        f"{str(value)!r} is neither true nor false.",
        item=item,
        rule="type",
        fix="true or false.",
    )
    return text in _TRUE


def _strings(value: t.Any, item: str) -> list[str]:
    values = value.split(",") if isinstance(value, str) else value
    check(
        isinstance(values, (list, tuple)) and all(isinstance(v, (str, int)) for v in values),
        "is not a list of texts.",
        item=item,
        rule="type",
        fix="write a YAML list.",
    )
    return [text for text in (str(v).strip() for v in values) if text]


def _cidr(text: str, item: str) -> str:
    try:
        network = ipaddress.ip_interface(text).network
        address = ipaddress.ip_interface(text).ip
    except ValueError:
        raise InvalidInput(
            f"{text!r} is neither an address nor a network.",
            item=item,
            rule="cidr",
            fix="write 192.0.2.0/24 or 192.0.2.7.",
        ) from None
    if network.prefixlen == network.max_prefixlen:
        return str(address)
    return f"{address}/{network.prefixlen}"


def _pem(text: t.Any, item: str) -> str:
    result = "\n".join(line.strip() for line in str(text).strip().splitlines())
    check(
        not result or result.startswith("-----BEGIN "),
        "is not PEM text.",
        item=item,
        rule="pem",
        fix="give the text that begins with -----BEGIN, e.g. by lookup('ansible.builtin.file', ...).",
    )
    check(
        "PRIVATE KEY" not in result,
        "contains a private key.",
        item=item,
        rule="private-key",
        fix="give certificates and public keys only.",
    )
    return result


def _map(value: t.Any, item: str) -> dict[str, t.Any]:
    check(isinstance(value, t.Mapping), "is not a mapping.", item=item, rule="type", fix="write a YAML mapping.")
    return {str(k): (list(v) if isinstance(v, (list, tuple)) else v) for k, v in value.items()}


def canonical(value: t.Any, field: Field, *, item: str) -> t.Any:
    """Return *value* in the one form in which it is compared; ``None`` means the default."""
    if value is None:
        return field.empty
    result: t.Any
    if field.kind == "duration":
        result = seconds(value, item=item) if value != "" else 0
    elif field.kind == "int":
        try:
            result = int(value)
        except (TypeError, ValueError):
            raise InvalidInput(
                f"{str(value)!r} is not a number.", item=item, rule="type", fix="write a number."
            ) from None
    elif field.kind == "bool":
        result = _bool(value, item)
    elif field.kind == "set":
        result = sorted(set(_strings(value, item)))
    elif field.kind == "list":
        result = _strings(value, item)
    elif field.kind == "cidrs":
        result = sorted({_cidr(text, item) for text in _strings(value, item)})
    elif field.kind == "map":
        result = _map(value, item)
    elif field.kind == "pem":
        result = _pem(value, item)
    elif field.kind == "pems":
        values = [value] if isinstance(value, str) else list(value)
        result = sorted({_pem(v, item) for v in values} - {""})
    else:
        check(
            isinstance(value, (str, int)) and not isinstance(value, bool),
            f"{str(value)!r} is not a text.",
            item=item,
            rule="type",
            fix="write a text.",
        )
        result = str(value)
    if field.choices:
        check(
            result in field.choices,
            f"{result!r} is not one of {', '.join(field.choices)}.",
            item=item,
            rule="choice",
            fix="take one of these.",
        )
    return result


def parse_fields(raw: t.Mapping[str, t.Any], table: Table, *, item: str) -> dict[str, t.Any]:
    """Return every field of *table* in its canonical form; what *raw* leaves out takes the default.

    :raises InvalidInput: for a field that the table does not have, or a value that does not fit.
    """
    for key in raw:
        if key not in table:
            near = difflib.get_close_matches(str(key), table, 1)
            raise InvalidInput(
                f"{key!r} is no field of it.",
                item=item,
                rule="unknown-field",
                fix=f"did you mean {near[0]}?" if near else f"fields are {', '.join(sorted(table))}.",
            )
    return {name: canonical(raw.get(name), field, item=f"{item}.{name}") for name, field in table.items()}


def server_fields(answer: t.Mapping[str, t.Any], table: Table) -> dict[str, t.Any]:
    """Return the fields of *table* that a server's answer has, in their canonical form.

    A value that does not parse stays as it is: it differs from everything wanted, and gets replaced.
    """
    result: dict[str, t.Any] = {}
    for name, field in table.items():
        if name in answer and field.shown:
            try:
                result[name] = canonical(answer[name], dataclasses.replace(field, choices=()), item=name)
            except InvalidInput:
                result[name] = answer[name]
    return result


def differing(have: t.Mapping[str, t.Any], want: t.Mapping[str, t.Any], table: Table, *, item: str) -> list[str]:
    """Return the names of fields that differ. A field the server does not report counts as being at its default.

    :raises InvalidInput: when a field is wanted that this server does not know, or cannot be changed any more.
    """
    names: list[str] = []
    for name, field in table.items():
        if not field.shown or want[name] == have.get(name, field.empty):
            continue
        if name not in have:
            raise InvalidInput(
                "this server does not know the field.",
                item=f"{item}.{name}",
                rule="field-unknown-to-server",
                fix="leave it out, or upgrade the server.",
            )
        if field.fixed:
            raise InvalidInput(
                f"is {have[name]!r} since it was created and cannot be changed to {want[name]!r}.",
                item=f"{item}.{name}",
                rule="fixed-field",
                fix="declare what is there, or delete the object by hand so that it is made anew.",
            )
        names.append(name)
    return names


def body(want: t.Mapping[str, t.Any], table: Table, *, have: t.Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
    """Return what to send: to create (*have* is ``None``) all but defaults, to update every field the server has.

    Updates are complete, because some writes replace the whole object and others merge.
    """
    result: dict[str, t.Any] = {}
    for name, field in table.items():
        if have is None:
            if want[name] != field.empty:
                result[name] = want[name]
        elif not field.fixed and (name in have or want[name] != field.empty):
            result[name] = want[name]
    return result


def public(table: Table) -> frozenset[str]:
    """Return the names of the fields whose values may be shown."""
    return frozenset(name for name, field in table.items() if field.public)
