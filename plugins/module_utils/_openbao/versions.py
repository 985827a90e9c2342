# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What a server can do, decided by its version in this one place. docs/versions.md is the same table for people.

Versions from 2.0 on are OpenBao; 1.x is HashiCorp Vault, from whose version line OpenBao was forked. All comparisons
hold for both, because what OpenBao added came with 2.x.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._core.errors import InvalidInput, Refused

_VERSION = re.compile(r"^v?(\d+)\.(\d+)(?:\.(\d+))?(.*)$")


@dataclasses.dataclass(frozen=True, order=True)
class Version:
    """A server's version."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def openbao(self) -> bool:
        return self.major >= 2

    @property
    def product(self) -> str:
        return "OpenBao" if self.openbao else "HashiCorp Vault"

    @property
    def title(self) -> str:
        """Product and version, for messages."""
        return f"{self.product} {self}"

    # -- shares --------------------------------------------------------------------------------------------------------

    @property
    def has_rotate(self) -> bool:
        """Shares are made anew by ``sys/rotate/{root,recovery}/*``, with a login."""
        return self >= Version(2, 4, 0)

    @property
    def has_rekey(self) -> bool:
        """Shares are made anew by ``sys/rekey/*`` and ``sys/rekey-recovery-key/*``, without a login.

        From 2.5.0 on these are turned off unless the listener says otherwise.
        """
        return self < Version(2, 5, 0)

    @property
    def bare_rotate_loses_shares(self) -> bool:
        """``POST sys/rotate/root`` without a sub-path on a Shamir seal changes the key and returns no shares."""
        return Version(2, 4, 0) <= self < Version(2, 5, 2)

    # -- root tokens ---------------------------------------------------------------------------------------------------

    @property
    def open_generate_root(self) -> bool:
        """``sys/generate-root/*`` works without a login. Later it is turned off unless the listener says otherwise."""
        return self < Version(2, 5, 3)

    @property
    def has_generate_root_token(self) -> bool:
        """``sys/generate-root-token/*``, with a login."""
        return self >= Version(2, 6, 0)

    # -- seals and namespaces ------------------------------------------------------------------------------------------

    @property
    def has_namespaces(self) -> bool:
        return self >= Version(2, 3, 0)

    @property
    def has_sealable_namespaces(self) -> bool:
        """Namespaces may have a Shamir seal of their own: ``sys/namespaces/:path/{seal-status,unseal,seal}``."""
        return self >= Version(2, 6, 0)

    @property
    def has_static_seal(self) -> bool:
        return self >= Version(2, 4, 0)

    @property
    def kms_seals_are_plugins(self) -> bool:
        """Seals by a key service (transit among them) are plugins from 2.6 on and leave the program with 2.7."""
        return self >= Version(2, 6, 0)

    # -- the rest ------------------------------------------------------------------------------------------------------

    @property
    def audit_devices_by_api(self) -> bool:
        """Audit devices can be made by the API with the default settings."""
        return self < Version(2, 3, 2)

    @property
    def standbys_serve_reads(self) -> bool:
        return self >= Version(2, 5, 0)


def parse(text: str, *, override: str | None = None) -> Version:
    """Return the version, *override* before *text* (``version`` of ``sys/seal-status``).

    :raises InvalidInput: rules ``version``, and ``version-unknown`` as development builds of OpenBao report
        ``2.0.0-HEAD``, which says nothing.
    """
    source = override or text
    match = _VERSION.match(source.strip())
    if not match:
        raise InvalidInput(
            f"{source!r} is not a version.", item="server_version", rule="version", fix="give it as 2.6.2."
        )
    if not override and "HEAD" in match.group(4).upper():
        raise InvalidInput(
            f"the server reports {source}, a development build whose version is not known.",
            item="server_version",
            rule="version-unknown",
            fix="set server_version to the release it was built after (2.6.2).",
        )
    return Version(int(match.group(1)), int(match.group(2)), int(match.group(3) or 0))


def of(status: t.Mapping[str, t.Any], *, override: str | None = None) -> Version:
    """Return the version that the body of ``sys/seal-status`` reports; raises as :func:`parse`."""
    return parse(str(status.get("version") or ""), override=override)


def check_bare_rotate(version: Version, *, shamir: bool) -> None:
    """Guard for whoever means to send ``POST sys/rotate/root`` without a sub-path (nothing in the collection does).

    :raises Refused: ``bare-rotate``; the server would change the key behind the shares and hand out none.
    """
    if not shamir or not version.openbao or not version.bare_rotate_loses_shares:
        return
    raise Refused(
        f"{version.title} loses all unseal shares when sys/rotate/root is called on a Shamir seal (openbao #2613).",
        item="sys/rotate/root",
        rule="bare-rotate",
        fix="update OpenBao to 2.5.2 or newer; make new shares with playbooks/shares.yml, which never calls it.",
    )
