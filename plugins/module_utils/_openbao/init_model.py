# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What a site wants of its initialisation: holders, shares, the folder they land in, the administrators' login."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from .._core.encrypt import Program, Recipient, recipient_of
from .._core.errors import check
from .admin_plan import Admin, parse_admin
from .seal_model import Node, parse_nodes

#: Also a file name on every system, and told apart from others without regard to case.
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")


@dataclasses.dataclass(frozen=True)
class Holder:
    """A person who will keep one unseal share."""

    name: str
    recipient: Recipient

    @property
    def file_name(self) -> str:
        return f"{self.name}.{self.recipient.suffix}"


@dataclasses.dataclass(frozen=True)
class InitSpec:
    """A checked request for initialisation.

    :ivar shares: how many there will be: one per holder.
    :ivar on_server: OpenBao encrypts to the holders' PGP keys, so that no share exists in clear outside of it; the
        node can then not be unsealed here, and the root token goes, encrypted, to ``root_token_holder``.
    """

    nodes: tuple[Node, ...]
    holders: tuple[Holder, ...]
    threshold: int
    output_dir: str
    admin: Admin | None
    unseal: bool
    wait_timeout: float
    on_server: bool
    root_token_holder: Holder | None = None

    @property
    def shares(self) -> int:
        return len(self.holders)

    def path(self, name: str) -> str:
        return os.path.join(self.output_dir, name)

    @property
    def files(self) -> list[str]:
        """Every file the initialisation writes, the record apart."""
        names = [holder.file_name for holder in self.holders]
        if self.root_token_holder:
            names.append(root_token_file(self.root_token_holder))
        return [self.path(name) for name in names]


def root_token_file(holder: Holder) -> str:
    return f"root-token.{holder.file_name}"


def parse_holders(raw: t.Sequence[t.Mapping[str, t.Any]], program: Program) -> tuple[Holder, ...]:
    """Return the holders with their recipients; every recipient is parsed, none is tried out."""
    holders: list[Holder] = []
    names: dict[str, int] = {}
    labels: dict[str, int] = {}
    for index, entry in enumerate(raw):
        item, name = f"holders[{index}]", str(entry.get("name") or "")
        check(
            NAME.match(name),
            f"{name!r} cannot be the name of a share file.",
            item=f"{item}.name",
            rule="holder-name",
            fix="use letters, digits, dot, dash and underscore; begin with a letter or digit.",
        )
        check(
            name.lower() not in names,
            f"{name!r} is also holders[{names.get(name.lower())}].",
            item=f"{item}.name",
            rule="unique-holder",
            fix="one person keeps one share; give every person once.",
        )
        names[name.lower()] = index
        recipient = recipient_of(
            entry.get("age_recipient"), entry.get("pgp_public_key_file"), program, item=f"{item} ({name})"
        )
        check(
            recipient.label not in labels,
            f"the same key as holders[{labels.get(recipient.label)}].",
            item=f"{item} ({name})",
            rule="unique-recipient",
            fix="every holder needs a key of their own, or one person holds two shares.",
        )
        labels[recipient.label] = index
        holders.append(Holder(name, recipient))
    return tuple(holders)


def check_numbers(params: t.Mapping[str, t.Any]) -> int:
    """Return the threshold, once the numbers of holders, shares and threshold go together.

    :raises InvalidInput: they do not.
    """
    shares, threshold = int(params["shares"]), int(params["threshold"])
    count = len(params["holders"])
    check(
        count == shares,
        f"{count} holders for {shares} shares.",
        item="holders",
        rule="holders-count",
        fix="give exactly one holder per share.",
    )
    check(
        1 <= shares <= 255, f"{shares} is not between 1 and 255.", item="shares", rule="shares-range", fix="5 is usual."
    )
    check(
        threshold <= shares,
        f"{threshold} is more than the {shares} shares.",
        item="threshold",
        rule="threshold-above-shares",
        fix="3 of 5 is usual: two holders may be away.",
    )
    check(
        threshold > 1 or params.get("single_share"),
        "one holder alone could unseal.",
        item="threshold",
        rule="threshold-one",
        fix="set it to 2 or more, or say single_share: true (with shares: 1).",
    )
    check(threshold >= 1, "must be 1 or more.", item="threshold", rule="threshold-range", fix="3 of 5 is usual.")
    check(
        threshold > 1 or shares == 1,
        "OpenBao allows a threshold of 1 with one share only.",
        item="threshold",
        rule="threshold-one-shares",
        fix="set shares to 1 or threshold to 2 or more.",
    )
    return threshold


def parse(params: t.Mapping[str, t.Any], program: Program) -> InitSpec:
    """Return the checked request; *program* runs gpg where a holder has a PGP key.

    :raises InvalidInput: anything that is wrong, before anything is sent.
    """
    nodes = tuple(parse_nodes(params["nodes"]))
    threshold = check_numbers(params)
    holders = parse_holders(params["holders"], program)
    on_server = params.get("encrypt_on") == "server"
    root_holder = _root_token_holder(params.get("root_token_holder"), holders, on_server=on_server)
    admin = parse_admin(params["admin"], item="admin") if params.get("admin") else None
    if on_server:
        other = [h.name for h in holders if h.recipient.suffix != "asc"]
        check(
            not other,
            f"holders without a PGP key: {', '.join(other)}.",
            item="encrypt_on",
            rule="server-needs-pgp",
            fix="give all holders a pgp_public_key_file, or set encrypt_on: controller.",
        )
        check(
            admin is None and not params["unseal"],
            "OpenBao encrypts the shares itself, so that nothing can be unsealed in this run.",
            item="encrypt_on",
            rule="server-no-unseal",
            fix="leave out admin and set unseal: false, or set encrypt_on: controller.",
        )
    else:
        check(
            admin is not None,
            "is needed: the root token is revoked in this run and nobody could log in after it.",
            item="admin",
            rule="admin-missing",
            fix="give the administrators' login.",
        )
    return InitSpec(
        nodes=nodes,
        holders=holders,
        threshold=threshold,
        output_dir=os.path.abspath(os.path.expanduser(str(params["output_dir"]))),
        admin=admin,
        unseal=bool(params["unseal"]),
        wait_timeout=float(params["wait_timeout"]),
        on_server=on_server,
        root_token_holder=root_holder,
    )


def _root_token_holder(name: str | None, holders: tuple[Holder, ...], *, on_server: bool) -> Holder | None:
    check(
        bool(name) == on_server,
        "goes with encrypt_on: server, and only with it.",
        item="root_token_holder",
        rule="root-token-holder",
        fix="name the holder who makes the administrators' login by hand, or set encrypt_on: controller.",
    )
    if not name:
        return None
    found = next((h for h in holders if h.name == name), None)
    check(
        found is not None,
        f"{name!r} is none of the holders.",
        item="root_token_holder",
        rule="root-token-holder-unknown",
        fix="give the name of one of the holders.",
    )
    return found
