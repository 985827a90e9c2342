# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""New shares: what is wanted, and what the server says of an attempt."""

from __future__ import annotations

import base64
import dataclasses
import os
import typing as t

from .._core.encrypt import PgpRecipient, Program
from .._core.errors import HackspaceError, InvalidInput, check
from .init_model import Holder, check_numbers, parse_holders
from .share_record import Entry, Record, Rotation
from .shares import Share, parse
from .versions import Version

OnProgress = t.Literal["resume", "reset", "fail"]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Checked wishes: who is to hold shares from now on.

    :ivar replace_generation: make new shares although nothing else differs, if this generation is in force.
    """

    holders: tuple[Holder, ...]
    threshold: int
    output_dir: str
    on_server: bool = False
    on_progress: OnProgress = "resume"
    replace_generation: str = ""

    def entries(self) -> tuple[Entry, ...]:
        return tuple(Entry(h.name, h.file_name, h.recipient.label) for h in self.holders)

    def same_as(self, threshold: int, holders: t.Sequence[Entry]) -> bool:
        """Say whether *holders* are these people with these keys, in any order."""
        mine = {(h.name, h.recipient.label) for h in self.holders}
        return threshold == self.threshold and mine == {(e.holder, e.recipient) for e in holders}

    def request(self) -> dict[str, t.Any]:
        """Return the body that begins an attempt."""
        body: dict[str, t.Any] = {
            "secret_shares": len(self.holders),
            "secret_threshold": self.threshold,
            "require_verification": True,
        }
        if self.on_server:
            keys = [h.recipient.binary for h in self.holders if isinstance(h.recipient, PgpRecipient)]
            body["pgp_keys"] = [base64.b64encode(key).decode("ascii") for key in keys]
        return body


def parse_wanted(params: t.Mapping[str, t.Any], program: Program) -> Wanted:
    """Return the checked wishes.

    :raises InvalidInput: anything that is wrong, before anything is sent.
    """
    threshold = check_numbers(params)
    holders = parse_holders(params["holders"], program)
    on_server = params["encrypt_on"] == "server"
    other = [h.name for h in holders if h.recipient.suffix != "asc"]
    check(
        not on_server or not other,
        f"holders without a PGP key: {', '.join(other)}.",
        item="encrypt_on",
        rule="server-needs-pgp",
        fix="give all holders a pgp_public_key_file, or set encrypt_on: controller.",
    )
    return Wanted(
        holders=holders,
        threshold=threshold,
        output_dir=os.path.abspath(os.path.expanduser(str(params["output_dir"]))),
        on_server=on_server,
        on_progress=params["on_progress"],
        replace_generation=params.get("replace_generation") or "",
    )


# -- shares that people give -------------------------------------------------------------------------------------------


def check_names(entries: t.Sequence[t.Mapping[str, t.Any]], known: t.Sequence[Entry], *, item: str, whose: str) -> None:
    """Raise unless every holder is named once and is one of *known* (where anybody is).

    :raises InvalidInput: ``unique-holder``, ``known-holder``.
    """
    names = [str(e["name"]) for e in entries]
    twice = sorted({n for n in names if names.count(n) > 1})
    check(
        not twice,
        f"{', '.join(twice)} is given twice.",
        item=item,
        rule="unique-holder",
        fix="name every holder once; who holds two shares has two names.",
    )
    strange = [n for n in names if known and n not in {e.holder for e in known}]
    check(
        not strange,
        f"{', '.join(strange)} holds none of {whose}.",
        item=item,
        rule="known-holder",
        fix=f"one of {', '.join(e.holder for e in known)}.",
    )


def given_shares(entries: t.Sequence[t.Mapping[str, t.Any]], *, item: str) -> list[Share]:
    """Return the distinct shares of *entries*, whose content the action plugin has read.

    :raises InvalidInput: one was not read, is malformed or the same as that of another holder.
    """
    unread = [str(e["name"]) for e in entries if not e.get("share")]
    check(
        not unread,
        f"the share of {', '.join(unread)} was not read.",
        item=item,
        rule="share-missing",
        fix="let the action plugin of this module run: delegate nothing, use its full name.",
    )
    found, same = parse((str(e["name"]), str(e["share"])) for e in entries)
    if same:
        pairs = "; ".join(f"that of {a} is the same as that of {b}" for a, b in same.items())
        raise InvalidInput(
            f"one share is given twice: {pairs}.",
            item=item,
            rule="same-share",
            fix="let every holder give the share of their own file; two holders with one share are one holder.",
        )
    return found


def identify(mark: str, records: t.Sequence[Record]) -> str:
    """Say whose share has the fingerprint *mark*, and of which generation; ``""`` if no record knows it."""
    for record in records:
        found: list[tuple[Record | Rotation, str]] = [(record, "generation")]
        if record.rotation:
            found.append((record.rotation, "the new shares under way, generation"))
        for group, words in found:
            owner = next((e.holder for e in group.holders if e.fingerprint == mark), "")
            if owner:
                return f"that of {owner} in {words} {group.generation}"
    return ""


def wrong_fingerprint(holder: str, mark: str, records: t.Sequence[Record], *, wanted: str) -> HackspaceError:
    """Return the error for a share that is not the one the record has for *holder*."""
    found = identify(mark, records)
    what = f"it is {found}" if found else "no record knows it: it is of another cluster, or damaged"
    return InvalidInput(
        f"this is not the share of generation {wanted} that the record has for {holder}; {what}.",
        item=f"unseal share of {holder}",
        rule="wrong-share",
        fix="give the holder's own file of that generation; compare fingerprints in shares.json.",
        data={"holder": holder, "belongs_to": found},
    )


# -- what the server says ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Endpoints:
    """Where new shares are made.

    :ivar base: ``sys/rotate/root``, ``sys/rotate/recovery``, ``sys/rekey`` or ``sys/rekey-recovery-key``. It is never
        requested itself: ``POST sys/rotate/root`` changes the key behind the shares at once.
    :ivar needs_login: a login with rights on these paths is needed besides the shares.
    """

    base: str
    needs_login: bool

    @property
    def init(self) -> str:
        return f"{self.base}/init"

    @property
    def update(self) -> str:
        return f"{self.base}/update"

    @property
    def verify(self) -> str:
        return f"{self.base}/verify"


def endpoints(version: Version, *, recovery_seal: bool) -> Endpoints:
    """Return the endpoints of *version*: ``sys/rotate`` from OpenBao 2.4 on, before that ``sys/rekey``."""
    if version.has_rotate:
        return Endpoints("sys/rotate/recovery" if recovery_seal else "sys/rotate/root", needs_login=True)
    return Endpoints("sys/rekey-recovery-key" if recovery_seal else "sys/rekey", needs_login=False)


@dataclasses.dataclass(frozen=True)
class Server:
    """An unsealed server and its attempt.

    :ivar required: old shares that the attempt needs.
    :ivar verification_nonce: not empty once the new shares were handed out and wait for verification.
    :ivar verified: new shares of the present round of verification.
    """

    version: Version
    ends: Endpoints
    recovery_seal: bool = False
    shares: int = 0
    threshold: int = 0
    started: bool = False
    nonce: str = ""
    progress: int = 0
    required: int = 0
    verification_nonce: str = ""
    verified: int = 0
    cluster: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "recovery" if self.recovery_seal else "unseal"
