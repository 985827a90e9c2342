# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Would these OpenBao policies let a ServiceAccount read a path? Answered from their texts, with the reason if not.

Only what the server does with templates, globs and the two versions of the KV engine is repeated here; a real read has
the last word. OpenBao's rules: ``*`` at the end stands for any rest, ``+`` for one
segment, the most specific path counts, and ``deny`` wins on it.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

_BLOCK = re.compile(r'path\s+"((?:[^"\\]|\\.)*)"\s*\{(.*?)\n?\s*\}', re.DOTALL)
_CAPABILITIES = re.compile(r"capabilities\s*=\s*\[([^\]]*)\]", re.DOTALL)
_COMMENT = re.compile(r"^\s*(#|//).*$", re.MULTILINE)
_TEMPLATE = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_METADATA = re.compile(r"identity\.entity\.aliases\.([^.\s]+)\.metadata\.([A-Za-z0-9_]+)$")


@dataclasses.dataclass(frozen=True)
class Rule:
    """One path of an OpenBao policy."""

    path: str
    capabilities: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is to be read, and by whom.

    :ivar mount: path of the KV engine.
    :ivar version: 1 or 2.
    :ivar path: below the engine, without ``data/``.
    :ivar accessor: of the auth mount by which the ServiceAccount logs in.
    :ivar metadata: what that mount knows about it.
    """

    mount: str
    version: int
    path: str
    accessor: str
    metadata: t.Mapping[str, str]

    def full(self, version: int | None = None) -> str:
        """Path of the read for a version of the engine."""
        return f"{self.mount}/data/{self.path}" if (version or self.version) == 2 else f"{self.mount}/{self.path}"


@dataclasses.dataclass(frozen=True)
class Answer:
    """``cause`` is empty if a policy allows the read, otherwise what is wrong.

    :ivar cause: ``policy-denied``, ``policy-accessor``, ``policy-kv-version`` or ``policy-path``.
    :ivar policy: the policy that allows it, or that is wrong.
    :ivar path: its path as written.
    """

    cause: str
    policy: str = ""
    path: str = ""


def rules(text: str) -> list[Rule]:
    """Return the paths of a policy in HCL. What is no block of a path is ignored."""
    found = []
    for match in _BLOCK.finditer(_COMMENT.sub("", text)):
        listed = _CAPABILITIES.search(match.group(2))
        names = re.findall(r'"([^"]+)"', listed.group(1)) if listed else []
        found.append(Rule(match.group(1).lstrip("/"), frozenset(names)))
    return found


def resolved(path: str, wanted: Wanted, *, any_accessor: bool = False) -> str | None:
    """Return *path* with its templates filled in, ``None`` if the server would leave it out.

    :param any_accessor: take the metadata whatever accessor the template names.
    """
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = _METADATA.match(match.group(1))
        if found and (any_accessor or found.group(1) == wanted.accessor) and wanted.metadata.get(found.group(2)):
            return wanted.metadata[found.group(2)]
        missing = True
        return ""

    text = _TEMPLATE.sub(value, path)
    return None if missing else text


def covers(path: str, asked: str) -> bool:
    """Say if a path of a policy stands for the path *asked*."""
    open_end = path.endswith("*")
    pattern = "/".join("[^/]+" if part == "+" else re.escape(part) for part in path.removesuffix("*").split("/"))
    return re.fullmatch(pattern + (".*" if open_end else ""), asked, re.DOTALL) is not None


def _weight(path: str) -> tuple[bool, int, int, int]:
    """Order of paths of policies: exact before patterns, later wildcard before earlier, fewer ``+``, longer."""
    first = min((i for i in (path.find("*"), path.find("+")) if i >= 0), default=len(path))
    return not path.endswith("*"), first, -path.count("+"), len(path)


def may_read(policies: t.Mapping[str, str], wanted: Wanted) -> Answer:
    """Say if one of *policies* (texts by name) allows the read, and if not, what comes nearest."""
    all_rules = [(name, rule) for name, text in policies.items() for rule in rules(text)]

    def fitting(asked: str, *, any_accessor: bool = False) -> list[tuple[str, Rule]]:
        fits = []
        for name, rule in all_rules:
            path = resolved(rule.path, wanted, any_accessor=any_accessor)
            if path is not None and covers(path, asked):
                fits.append((name, rule))
        return fits

    def best(some: list[tuple[str, Rule]]) -> tuple[str, Rule] | None:
        """The rule that counts: the server takes the most specific path, and joins what policies say about it."""
        if not some:
            return None
        top = max((rule.path for _policy, rule in some), key=_weight)
        same = [(name, rule) for name, rule in some if rule.path == top]
        joined = frozenset[str]().union(*(rule.capabilities for _policy, rule in same))
        wish = "deny" if "deny" in joined else "read"
        name = next((n for n, r in same if wish in r.capabilities), same[0][0])
        return name, Rule(top, joined)

    right = fitting(wanted.full())
    here = best(right)
    if here and "deny" in here[1].capabilities:
        return Answer("policy-denied", here[0], here[1].path)
    if here and "read" in here[1].capabilities:
        return Answer("", here[0], here[1].path)
    for cause, some in (
        ("policy-accessor", fitting(wanted.full(), any_accessor=True)),
        ("policy-kv-version", fitting(wanted.full(3 - wanted.version), any_accessor=True)),
    ):
        nearest = best([one for one in some if one not in right])
        if nearest and "read" in nearest[1].capabilities and "deny" not in nearest[1].capabilities:
            return Answer(cause, nearest[0], nearest[1].path)
    return Answer("policy-path")
