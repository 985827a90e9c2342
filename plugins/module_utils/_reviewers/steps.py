# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What a planned change consists of; ``apply`` carries it out. What is known only then is not here."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class KubeApply:
    """Apply an object server-side."""

    path: str
    body: Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class KubeDelete:
    """Delete the object with this uid."""

    path: str
    uid: str


@dataclasses.dataclass(frozen=True)
class Bao:
    """One request to OpenBao."""

    method: str
    path: str
    body: Mapping[str, t.Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class MakeMount:
    """Make the mount, and learn its accessor."""

    body: Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class WritePolicy:
    """Write an OpenBao policy, with the accessor that the mount has by then."""

    name: str


@dataclasses.dataclass(frozen=True)
class WriteConfig:
    """Write the complete configuration of the mount; with the token that the mode fetches, if it does."""


@dataclasses.dataclass(frozen=True)
class Rotate:
    """Mint a token and write it with the complete configuration. What is old goes after the verification."""


@dataclasses.dataclass(frozen=True)
class Swap:
    """After the verification: auth mounts change their paths, one after the other (from, to)."""

    moves: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class NoteMode:
    """At the very end: the mount's description says the mode; what an earlier mode left is not looked for any more."""

    path: str
    body: Mapping[str, t.Any]


Step: t.TypeAlias = "KubeApply | KubeDelete | Bao | MakeMount | WritePolicy | WriteConfig | Rotate | Swap | NoteMode"
