# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Fields of Kubernetes objects that must not be shown: a Kubernetes Secret's data, and what the user names."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import typing as t
from collections.abc import Iterator, Sequence

from .._core.errors import InvalidInput
from .._core.redact import HIDDEN, HIDDEN_CHANGED
from .normalise import Object, duplicate

#: Steps from the top of an object; ``*`` is any key or any element.
Path = tuple[str, ...]

_SECRET_PATHS: t.Final[tuple[Path, ...]] = (("data", "*"), ("stringData", "*"))
_LAST_APPLIED: t.Final = "kubectl.kubernetes.io/last-applied-configuration"
_NOISE: t.Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
_MISSING: t.Final = object()


@dataclasses.dataclass(frozen=True)
class Rule:
    """``Kind:/path/to/field`` or ``/path/to/field`` (any kind)."""

    kind: str
    path: Path


def parse_rules(texts: Sequence[str]) -> list[Rule]:
    """Return the rules that the option hidden_fields spells; ``~1`` stands for a slash in a key."""
    result = []
    for index, text in enumerate(texts):
        kind, slash, rest = text.partition("/")
        steps = tuple(s.replace("~1", "/").replace("~0", "~") for s in rest.split("/"))
        if not slash or (kind and not kind.endswith(":")) or not all(steps):
            raise InvalidInput(
                f"{text!r} is not a path to a field.",
                item=f"hidden_fields[{index}]",
                rule="hidden-field",
                fix="write /spec/values/password or ConfigMap:/data/* (~1 stands for a slash in a key).",
            )
        result.append(Rule(kind.removesuffix(":"), steps))
    return result


def paths_for(rules: Sequence[Rule], *, kind: str, secret: bool) -> tuple[Path, ...]:
    """Return the paths to hide in an object of *kind*."""
    own = tuple(rule.path for rule in rules if rule.kind in ("", kind))
    return (_SECRET_PATHS if secret else ()) + own


def _slots(value: t.Any, path: Path) -> Iterator[tuple[t.Any, t.Any]]:
    """Yield (container, key) of everything that *path* matches."""
    if isinstance(value, dict):
        keys: list[t.Any] = list(value) if path[0] == "*" else [path[0]] if path[0] in value else []
    elif isinstance(value, list) and (path[0] == "*" or path[0].isdigit()):
        keys = list(range(len(value))) if path[0] == "*" else [int(path[0])] if int(path[0]) < len(value) else []
    else:
        return
    for key in keys:
        if len(path) == 1:
            yield value, key
        else:
            yield from _slots(value[key], path[1:])


def without(body: Object, paths: Sequence[Path]) -> Object:
    """Return *body* with its hidden values gone and their keys kept; a copy, unless nothing is hidden."""
    if not paths:
        return body
    result: Object = duplicate(body)
    for path in paths:
        for container, key in _slots(result, path):
            container[key] = None
    return result


def values(body: t.Any, paths: Sequence[Path]) -> set[str]:
    """Return every hidden text in *body*, also as decoded base64."""
    found: set[str] = set()

    def take(value: t.Any) -> None:
        if isinstance(value, dict):
            for one in value.values():
                take(one)
        elif isinstance(value, list):
            for one in value:
                take(one)
        elif value is not None and not isinstance(value, bool):
            found.add(str(value))

    for path in paths:
        for container, key in _slots(body, path):
            take(container[key])
    for text in list(found):
        try:
            found.add(base64.b64decode(text, validate=True).decode())
        except (binascii.Error, UnicodeDecodeError, ValueError):
            continue
    return {f for f in found if f}


def scrub(text: str, secrets: t.Iterable[str]) -> str:
    """Return *text* with every one of *secrets* replaced; for sentences that a server wrote."""
    for one in sorted(secrets, key=len, reverse=True):
        if len(one) >= 4:
            text = text.replace(one, HIDDEN)
    return text


def view(body: Object | None) -> Object | None:
    """Return *body* without what only the server cares about; kubectl's copy of the object goes too."""
    if body is None:
        return None
    result: Object = {k: duplicate(v) for k, v in body.items() if k not in ("status", "metadata")}
    metadata = {k: duplicate(v) for k, v in (body.get("metadata") or {}).items() if k not in _NOISE}
    if isinstance(metadata.get("annotations"), dict):
        metadata["annotations"].pop(_LAST_APPLIED, None)
    result["metadata"] = metadata
    return result


def _lookup(value: t.Any, keys: Sequence[t.Any]) -> t.Any:
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return value


def _located(value: t.Any, path: Path, prefix: tuple[t.Any, ...] = ()) -> Iterator[tuple[t.Any, ...]]:
    for container, key in _slots(value, path[:1]):
        if len(path) == 1:
            yield (*prefix, key)
        else:
            yield from _located(container[key], path[1:], (*prefix, key))


def pair(before: Object | None, after: Object | None, paths: Sequence[Path]) -> tuple[Object | None, Object | None]:
    """Return both sides of a change for a reader: noise and hidden values gone, the fact of a change kept."""
    old, new = view(before), view(after)
    if not paths:
        return old, new
    shown_old, shown_new = duplicate(old), duplicate(new)
    for path in paths:
        for keys in list(_located(new, path)) if new is not None else []:
            same = old is not None and _lookup(old, keys) == _lookup(new, keys)
            _lookup(shown_new, keys[:-1])[keys[-1]] = HIDDEN if same else HIDDEN_CHANGED
        for keys in list(_located(old, path)) if old is not None else []:
            _lookup(shown_old, keys[:-1])[keys[-1]] = HIDDEN
    return shown_old, shown_new


def hidden_equal(wanted: Object, live: Object, paths: Sequence[Path]) -> bool:
    """Return whether every hidden value of *wanted* is in *live*, to the letter."""
    return all(_lookup(wanted, keys) == _lookup(live, keys) for path in paths for keys in _located(wanted, path))


def shown_objects(objects: Sequence[t.Any], rules: Sequence[str]) -> list[t.Any]:
    """Return *objects* as they may be shown to anybody; with a rule that is wrong, nothing is shown of them."""
    try:
        parsed = parse_rules(rules)
    except InvalidInput:
        return [HIDDEN for _one in objects]
    return [_shown(one, parsed) for one in objects]


def _shown(one: t.Any, rules: Sequence[Rule]) -> t.Any:
    if not isinstance(one, dict):
        return HIDDEN
    result: Object = duplicate(one)
    kind = str(one.get("kind") or "")
    if isinstance(one.get("items"), list):
        result["items"] = [
            _shown({"kind": kind.removesuffix("List"), **i} if isinstance(i, dict) else i, rules) for i in one["items"]
        ]
    # by kind alone: a Kubernetes Secret with a wrong apiVersion is to stay hidden, too
    for path in paths_for(rules, kind=kind, secret=kind.removesuffix("List") == "Secret"):
        for container, key in _slots(result, path):
            container[key] = HIDDEN
    return result
