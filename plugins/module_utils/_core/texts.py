# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Plans a folder of generated text files; those of ours carry a mark in their first line."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import Refused, check
from .plan import Change, Plan
from .prune import check_prune

_PUBLIC = frozenset({"content"})


def check_names(files: Mapping[str, str], mark: str) -> None:
    """Refuse paths that lead out of the folder, and contents without the mark."""
    for name in files:
        parts = name.split("/")
        check(
            name and not name.startswith("/") and not {"", ".", ".."} & set(parts) and "\0" not in name,
            f"{name!r} is no path inside the folder.",
            item=f"files[{name}]",
            rule="file-path",
            fix="give paths as a/b.yaml, without '..'.",
        )
        check(
            is_ours(files[name], mark),
            "does not carry the mark in its first line.",
            item=f"files[{name}]",
            rule="file-mark",
            fix=f"let its first line hold {mark!r}.",
        )


def is_ours(content: str, mark: str) -> bool:
    """Say whether a file was made by us."""
    return mark in content.partition("\n")[0]


def plan(wanted: Mapping[str, str], current: Mapping[str, str], mark: str, *, adopt: bool, prune: int | None) -> Plan:
    """Return what is to be written and deleted.

    :param current: contents of the wanted files that exist, and of all others that are ours.
    :param prune: the cap in percent, or nothing for no deletion.
    """
    made = Plan()
    for name, content in sorted(wanted.items()):
        before = current.get(name)
        if before == content:
            made.unchanged += 1
            continue
        if before is not None and not is_ours(before, mark):
            made.foreign.append(name)
            if not adopt:
                continue
        made.add(
            Change(
                "file",
                name,
                "create" if before is None else "update",
                None if before is None else {"content": before},
                {"content": content},
                public=_PUBLIC,
            )
        )
    if made.foreign and not adopt:
        raise Refused(
            f"{', '.join(sorted(made.foreign))} exist, differ, and were not made by this.",
            item="files",
            rule="not-ours",
            fix="choose another folder, or say adopt: true to replace them.",
        )
    stale = sorted(name for name, content in current.items() if name not in wanted and is_ours(content, mark))
    if prune is not None:
        owned = len(stale) + sum(name in wanted for name in current)
        check_prune(item="files", doomed=stale, desired=len(wanted), owned=owned, max_percent=prune)
        for name in stale:
            made.add(Change("file", name, "delete", {"content": current[name]}, None, "not wanted", _PUBLIC))
    elif stale:
        made.warnings.append(f"made earlier and not wanted any more: {', '.join(stale)}; prune: true deletes them.")
    return made
