# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""How mounts are marked as ours: the end of their description. Mounts like ``userpass`` and ``oidc`` have well-known
names, so a name prefix cannot tell whose they are.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._core.errors import Refused
from .._core.plan import Plan

#: What ``openbao_init`` writes as the description of the administrators' auth mount.
INIT_DESCRIPTION: t.Final = "managed by hackspace.infra"
#: The mark of a module that alone owns its mounts, such as ``jwt_reviewer``.
_OWNER = re.compile(r"\[hackspace\.infra: ([a-z_]+)\]\s*$")
_MARK = re.compile(r"\s*\[hackspace\.infra((?: [a-z_]+=[0-9a-f]{12})*)\]\s*$")


@dataclasses.dataclass(frozen=True)
class Description:
    """A mount's description in its two parts.

    :ivar text: what people wrote.
    :ivar marked: it ends with our mark.
    :ivar evidence: fingerprints of write-only values, by field name.
    """

    text: str
    marked: bool = False
    evidence: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Marked, or made by ``openbao_init``."""
        return self.marked or self.text == INIT_DESCRIPTION

    def __str__(self) -> str:
        if not self.marked:
            return self.text
        mark = " ".join(["hackspace.infra", *(f"{k}={v}" for k, v in sorted(self.evidence.items()))])
        return f"{self.text} [{mark}]".lstrip()


def split(description: str | None) -> Description:
    """Return the parts of a description as the server has it."""
    text = description or ""
    match = _MARK.search(text)
    if not match:
        return Description(text.strip())
    evidence = dict(part.split("=", 1) for part in match.group(1).split())
    return Description(text[: match.start()].strip(), True, evidence)


def owner(description: str | None) -> str:
    """Return the module that alone owns the mount, an empty string if none does."""
    match = _OWNER.search(description or "")
    return match.group(1) if match else ""


def wanted_description(there: Description, wanted: str | None) -> str:
    """Return the description a mount of ours is to have; ``None`` keeps the text that is there."""
    if wanted is None and there.ours and not there.marked:
        return str(there)  # made by openbao_init, which knows it by this text
    return str(Description(there.text if wanted is None else wanted, True, there.evidence))


@dataclasses.dataclass
class Verdict:
    """Collects what is not ours on the way."""

    adopt: bool
    foreign: list[str] = dataclasses.field(default_factory=list)
    refused: list[str] = dataclasses.field(default_factory=list)

    def finish(self, result: Plan, item: str) -> None:
        """Put the foreign ones into *result*; raise if one of them would change without leave."""
        result.foreign.extend(self.foreign)
        if self.refused:
            raise Refused(
                "these exist, differ from what is wanted, and are not marked as ours: "
                f"{', '.join(sorted(self.refused))}.",
                item=item,
                rule="foreign",
                fix="look at the difference with --check --diff and adopt: true, then set adopt: true.",
                data={"foreign": sorted(self.refused)},
            )
