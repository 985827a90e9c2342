# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What a version of Rook takes, decided in this one place; read in the definitions and the importer of each version."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._core.errors import InvalidInput

_VERSION: t.Final = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")
_CEPH: t.Final = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
#: The oldest that is rendered for; ``next``, what is not released yet, is newer than all.
OLDEST: t.Final = (1, 17)
NEXT: t.Final = (9999, 0)


@dataclasses.dataclass(frozen=True, order=True)
class Rook:
    """A version of Rook."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str, *, item: str) -> Rook:
        """Return the version.

        :raises InvalidInput: rules ``rook-version``, ``rook-too-old``.
        """
        if text == "next":
            return cls(*NEXT)
        found = _VERSION.fullmatch(text)
        if found is None:
            raise InvalidInput(
                f"{text!r} is no version of Rook.",
                item=item,
                rule="rook-version",
                fix='give it as text, for example "1.20", or next for what is not released yet.',
            )
        version = cls(int(found[1]), int(found[2]))
        if (version.major, version.minor) < OLDEST:
            raise InvalidInput(
                f"objects for Rook {text} can't be rendered.",
                item=item,
                rule="rook-too-old",
                fix="upgrade Rook to 1.17 or newer.",
            )
        return version

    def __str__(self) -> str:
        return "next" if (self.major, self.minor) == NEXT else f"{self.major}.{self.minor}"

    def since(self, minor: int) -> bool:
        """Say whether this is 1.*minor* or newer."""
        return (self.major, self.minor) >= (1, minor)

    @property
    def user_id(self) -> bool:
        """Secrets for CephFS have ``userID``; before, ``adminID``."""
        return self.since(18)

    @property
    def explicit_cluster_id(self) -> bool:
        """Custom resources have ``clusterID``; before, Rook reckons it."""
        return self.since(18)

    @property
    def controller_publish(self) -> bool:
        """StorageClasses name the Secret for publishing."""
        return self.since(18)

    @property
    def metadata_namespace(self) -> bool:
        """The custom resource of a subvolume group has ``csiMetadataRadosNamespace``."""
        return self.since(20)

    @property
    def annotations(self) -> bool:
        """Secrets are found by annotations."""
        return self.since(21)

    @property
    def oldest_ceph(self) -> tuple[int, int]:
        """The oldest Ceph that the operator accepts."""
        return (19, 2) if self.since(20) else (18, 2)


def ceph_version(text: str) -> tuple[int, int, int]:
    """Return a version of Ceph as numbers; zeros if it can't be read."""
    found = _CEPH.search(text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else (0, 0, 0)


def aes256k_ceph(version: tuple[int, int, int]) -> bool:
    """Say whether Ceph has keys of the type ``aes256k``, and with them the mend of CVE-2025-30156."""
    return version >= (21, 2, 0) or (20, 2, 4) <= version < (21, 0, 0) or (19, 2, 6) <= version < (20, 0, 0)


def aes256k_kernel(text: str) -> bool:
    """Say whether a node's kernel, by its version, can use keys of the type ``aes256k``."""
    found = _CEPH.match(text)
    return found is not None and int(found[1]) >= 7
