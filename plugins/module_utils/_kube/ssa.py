# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""managedFields: which fields our field manager owns, and whether they are all that is wanted.

The names of fieldsV1: ``f:name`` a field, ``k:{...}`` an element of a list merged by key, ``v:...`` an element of a
set, ``i:n`` an element by index, ``.`` the thing itself. A node without children is a value that is owned whole.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator, Mapping, Sequence

from .normalise import Json, covered, is_empty, same_scalar

#: One step: ("f", name), ("k", json of the key fields), ("v", json of the value), ("i", index as text).
Step = tuple[str, str]
FieldPath = tuple[Step, ...]
Tree = dict[str, t.Any]

_IDENTITY: t.Final = frozenset({"apiVersion", "kind"})


def parse_fields(tree: Mapping[str, t.Any]) -> frozenset[FieldPath]:
    """Return the paths of a fieldsV1 tree; a node with ``.`` is a path itself besides what it contains."""
    return frozenset(_paths(tree, ()))


def _paths(tree: Mapping[str, t.Any], prefix: FieldPath) -> Iterator[FieldPath]:
    for key, child in tree.items():
        if key == ".":
            yield prefix
            continue
        kind, _other, rest = key.partition(":")
        path: FieldPath = (*prefix, (kind, rest))
        if not child:
            yield path
        else:
            yield from _paths(child, path)


def render_fields(paths: t.Iterable[FieldPath]) -> Tree:
    """Return the fieldsV1 tree of *paths*; the inverse of :func:`parse_fields`."""
    everything = set(paths)
    parents = {path[:n] for path in everything for n in range(len(path))}
    tree: Tree = {}
    for path in sorted(everything):
        node = tree
        for kind, rest in path:
            node = node.setdefault(f"{kind}:{rest}", {})
        if path in parents:
            node["."] = {}
    return tree


def show(path: FieldPath) -> str:
    """Return a path as people write it: ``spec.ports[port=80].name``."""
    text = ""
    for kind, rest in path:
        if kind == "f":
            text += ("." if text else "") + (f'"{rest}"' if "." in rest or "/" in rest else rest)
        elif kind == "k":
            try:
                keys = json.loads(rest)
                text += "[" + ",".join(f"{k}={v}" for k, v in keys.items()) + "]"
            except (ValueError, AttributeError):
                text += "[]"
        else:
            text += f"[{rest}]"
    return text


def applied_fields(live: Mapping[str, t.Any], manager: str) -> Tree | None:
    """Return the fields that *manager* owns by server-side apply, ``None`` if it never applied the object."""
    for entry in (live.get("metadata") or {}).get("managedFields") or []:
        if (
            entry.get("manager") == manager
            and entry.get("operation") == "Apply"
            and not entry.get("subresource")
            and isinstance(entry.get("fieldsV1"), dict)
        ):
            return dict(entry["fieldsV1"])
    return None


def applied_version(live: Mapping[str, t.Any], manager: str) -> str:
    """Return the apiVersion in which *manager* applied last."""
    for entry in (live.get("metadata") or {}).get("managedFields") or []:
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return str(entry.get("apiVersion") or "")
    return ""


def _matches(key: Mapping[str, t.Any], element: Mapping[str, t.Any]) -> bool:
    """Whether a list element is the one with these key fields; key fields it leaves out have the server's default."""
    return all(name not in element or same_scalar(element[name], value) for name, value in key.items())


def _element_keys(node: Mapping[str, t.Any]) -> list[tuple[str, dict[str, t.Any]]]:
    result = []
    for name in node:
        if name.startswith("k:"):
            keys = json.loads(name[2:])
            if isinstance(keys, dict):
                result.append((name, keys))
    return result


def differences(wanted: Mapping[str, Json], live: Mapping[str, Json], owned: Tree) -> list[str]:
    """Return the fields of *wanted* that we do not own in *live*, or whose value seems to be another one.

    An empty list means: everything wanted was applied by us, and nobody has changed it since (who changes a field
    takes its ownership). Values are compared as their meaning (``1000m`` is ``1``); defaults that the server filled
    in do not count.
    """
    found: list[str] = []
    for key, value in wanted.items():
        if key in _IDENTITY:
            continue
        if key == "metadata":
            inner = {k: v for k, v in value.items() if k not in ("name", "namespace")}
            _walk(inner, live.get("metadata"), owned.get("f:metadata"), "metadata", found)
        else:
            _walk(value, live.get(key), owned.get(f"f:{key}"), key, found)
    return found


def _walk(wanted: Json, live: Json, node: Tree | None, where: str, found: list[str]) -> None:
    if is_empty(wanted):
        if not is_empty(live) and not isinstance(live, type(wanted)):
            found.append(where)
        return
    if node is None:
        found.append(where)
        return
    inner = {k: v for k, v in node.items() if k != "."}
    if not inner:
        if not covered(wanted, live):
            found.append(where)
    elif isinstance(wanted, dict):
        if not isinstance(live, dict):
            found.append(where)
            return
        for key, value in wanted.items():
            _walk(value, live.get(key), inner.get(f"f:{key}"), f"{where}.{key}", found)
    elif isinstance(wanted, list):
        if not isinstance(live, list):
            found.append(where)
            return
        _walk_list(wanted, live, inner, where, found)
    else:
        found.append(where)


def _walk_list(
    wanted: Sequence[Json], live: Sequence[Json], inner: Mapping[str, t.Any], where: str, found: list[str]
) -> None:
    keyed = _element_keys(inner)
    for index, element in enumerate(wanted):
        spot = f"{where}[{index}]"
        if keyed and isinstance(element, dict):
            hits = [(name, keys) for name, keys in keyed if _matches(keys, element)]
            if not hits:
                found.append(spot)
                continue
            name, keys = max(hits, key=lambda hit: sum(k in element for k in hit[1]))
            other = next(
                (
                    o
                    for o in live
                    if isinstance(o, dict) and all(k in o and same_scalar(o[k], v) for k, v in keys.items())
                ),
                None,
            )
            if other is None:
                found.append(spot)
            else:
                _walk(element, other, inner[name], spot, found)
        elif f"i:{index}" in inner:
            _walk(element, live[index] if index < len(live) else None, inner[f"i:{index}"], spot, found)
        elif not any(name.startswith("v:") and same_scalar(json.loads(name[2:]), element) for name in inner) or not any(
            same_scalar(one, element) for one in live
        ):
            found.append(spot)


def dropped(wanted: Mapping[str, Json], owned: Tree) -> list[str]:
    """Return the fields that we own and that are no longer wanted: a server-side apply removes them."""
    found: list[str] = []
    for path in sorted(parse_fields(owned)):
        if path and not _present(wanted, path):
            found.append(show(path))
    return found


def _present(value: Json, path: FieldPath) -> bool:
    for kind, rest in path:
        if kind == "f":
            if not isinstance(value, dict) or rest not in value:
                return False
            value = value[rest]
        elif kind == "k":
            keys = json.loads(rest)
            hits = [e for e in value if isinstance(e, dict) and _matches(keys, e)] if isinstance(value, list) else []
            if not hits:
                return False
            value = hits[0]
            if path[-1][0] == "f" and path[-1][1] in keys:
                return True  # a key field that the server filled in
        elif kind == "v":
            return isinstance(value, list) and any(same_scalar(json.loads(rest), e) for e in value)
        else:
            return isinstance(value, list)
    return True


def other_owners(live: Mapping[str, t.Any], manager: str) -> list[str]:
    """Return the names of the managers other than *manager* that have fields of *live*, outside its status."""
    return sorted(
        {
            str(entry.get("manager"))
            for entry in (live.get("metadata") or {}).get("managedFields") or []
            if entry.get("manager") and entry.get("manager") != manager and not entry.get("subresource")
        }
    )


def only_ours(live: Mapping[str, t.Any], manager: str) -> list[str]:
    """Return the fields that *manager* has applied and no other manager has: those that go when it gives them up."""
    mine = parse_fields(applied_fields(live, manager) or {})
    others: set[FieldPath] = set()
    for entry in (live.get("metadata") or {}).get("managedFields") or []:
        same = entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")
        if not same and isinstance(entry.get("fieldsV1"), dict):
            others |= parse_fields(entry["fieldsV1"])
    return sorted(show(path) for path in mine - others if not any(_inside(path, one) for one in others))


def _inside(path: FieldPath, other: FieldPath) -> bool:
    """Return whether *other* is a part of what stands at *path*."""
    return len(other) > len(path) and other[: len(path)] == path
