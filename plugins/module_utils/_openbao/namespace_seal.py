# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Namespaces with a Shamir seal of their own (OpenBao 2.6): their holders, their order, what an answer means. No I/O.

Such a seal belongs to the cluster, not to a server: one round on the active node is enough. The endpoints want a login
in the namespace above, and a namespace below a sealed one cannot be seen.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._core.errors import InvalidInput, Refused
from . import versions
from .seal_plan import UnsealError, check_holders
from .shares import Share

_SEGMENT = re.compile(r"[^/\s.][^/\s]*")

State = t.Literal["unsealed", "sealed", "no_seal", "unknown", "forbidden"]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One namespace and the holders of its shares."""

    path: str
    holders: tuple[str, ...] = ()

    @property
    def parent(self) -> str:
        """The namespace that is asked, empty for the root."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def depth(self) -> int:
        return self.path.count("/")

    def api(self, what: str) -> str:
        """Return the path of an endpoint, relative to the namespace above."""
        return f"sys/namespaces/{self.name}/{what}"


def parse_namespaces(raw: t.Sequence[t.Mapping[str, t.Any]]) -> list[Wanted]:
    """Return the namespaces, parents before children.

    :raises InvalidInput: rules ``namespace-path``, ``unique-namespace``, and those of the holders.
    """
    found: list[Wanted] = []
    for index, entry in enumerate(raw):
        item = f"namespaces[{index}]"
        path = str(entry.get("path") or "").strip("/")
        if not path or not all(_SEGMENT.fullmatch(part) for part in path.split("/")) or path == "root":
            raise InvalidInput(
                f"{entry.get('path')!r} is no path of a namespace.",
                item=f"{item}.path",
                rule="namespace-path",
                fix="give it as in tenants/ada, from the root namespace on.",
            )
        if path in (one.path for one in found):
            raise InvalidInput(
                f"the namespace {path} is given twice.",
                item=f"{item}.path",
                rule="unique-namespace",
                fix="one entry per namespace, with all its holders.",
            )
        names = [str(holder["name"]) for holder in entry.get("holders") or []]
        try:
            check_holders(names, ())
        except InvalidInput as error:
            error.item = f"{item}.{error.item}"
            raise
        found.append(Wanted(path, tuple(names)))
    return sorted(found, key=lambda one: (one.depth, one.path))


def check_version(reported: str, *, override: str | None = None) -> None:
    """:raises Refused: rule ``namespace-seal-version``, for servers without sealable namespaces."""
    version = versions.parse(reported, override=override)
    if not version.has_sealable_namespaces:
        raise Refused(
            f"the server is {version.title}; namespaces have no seal of their own before OpenBao 2.6.",
            item="namespaces",
            rule="namespace-seal-version",
            fix="leave namespaces out, or update the servers.",
        )


@dataclasses.dataclass(frozen=True)
class Seal:
    """The seal of one namespace at one moment."""

    wanted: Wanted
    state: State
    threshold: int = 0
    total: int = 0
    progress: int = 0
    nonce: str = ""
    why: str = ""

    @property
    def needed(self) -> int:
        return max(self.threshold - self.progress, 0) if self.state == "sealed" else 0

    def report(self) -> dict[str, t.Any]:
        return {
            "path": self.wanted.path,
            "state": self.state,
            "t": self.threshold,
            "n": self.total,
            "progress": self.progress,
            "shares_needed": self.needed,
            "problem": self.why,
        }

    def line(self) -> str:
        """Return one line for a person."""
        words = {
            "unsealed": "unsealed",
            "sealed": f"sealed, {self.progress} of {self.threshold} unseal shares counted",
            "no_seal": "has no seal of its own",
        }
        return f"namespace {self.wanted.path}: {words.get(self.state, self.why)}"


def classify(wanted: Wanted, http: int, body: t.Mapping[str, t.Any]) -> Seal:
    """Return the state of a namespace's seal from the answer of its seal-status (or of an unseal request)."""
    data = body.get("data") if isinstance(body.get("data"), dict) else body
    if http == 200 and isinstance(data, dict) and "sealed" in data:
        threshold = int(data.get("t") or 0)
        state: State = "unsealed" if not data["sealed"] else "sealed"
        return Seal(
            wanted,
            state,
            threshold,
            int(data.get("n") or 0),
            int(data.get("progress") or 0),
            str(data.get("nonce") or ""),
        )
    said = " ".join(str(error) for error in body.get("errors") or [])
    if http == 403:
        return Seal(wanted, "forbidden", why="the login may not see its seal (HTTP 403)")
    if re.search(r"not sealable|non-sealable", said):
        return Seal(wanted, "no_seal")
    if http == 503 or re.search(r"sealed", said):
        return Seal(wanted, "unknown", why="a namespace above it is sealed")
    return Seal(wanted, "unknown", why=f"it does not exist, or one above it is sealed (HTTP {http})")


def check_login(seals: t.Sequence[Seal]) -> None:
    """:raises Refused: rule ``namespace-login``, when the login may not even look."""
    closed = [seal.wanted for seal in seals if seal.state == "forbidden"]
    if closed:
        rules = f"read on {closed[0].api('seal-status')} and update on {closed[0].api('unseal')}"
        raise Refused(
            f"the login may not see the seal of namespace {', '.join(one.path for one in closed)}.",
            item="namespace_token_file",
            rule="namespace-login",
            fix=f"give a token with {rules} in the namespace {closed[0].parent or 'root'}.",
            status=403,
        )


@dataclasses.dataclass
class Round:
    """What this run did on one namespace."""

    seal: Seal
    verdicts: dict[str, str] = dataclasses.field(default_factory=dict)
    counted: list[str] = dataclasses.field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.counted)

    def next_share(self, shares: t.Sequence[Share]) -> Share | None:
        """Return the share to send next, ``None`` when none is needed or left."""
        if self.seal.state != "sealed":
            return None
        return next((share for share in shares if share.holder not in self.verdicts), None)

    def take(self, holder: str, http: int, after: Seal) -> None:
        """Record what became of *holder*'s share.

        :raises UnsealError: rules ``namespace-wrong-share``, ``namespace-nonce``, ``namespace-refused``.
        """
        before, self.seal = self.seal, after
        place = f"namespace {before.wanted.path}"
        if http == 400:
            ours = [*self.counted, holder]
            raise UnsealError(
                f"one of the unseal shares of {', '.join(ours)} is wrong, or of another namespace; OpenBao cannot tell "
                "which, and has dropped all that it had counted."
                if before.needed == 1
                else f"the unseal share of {holder} was refused.",
                item=place,
                rule="namespace-wrong-share",
                fix="ask these holders for the shares of this namespace; leave one out each time.",
                status=http,
                data={"suspects": ours},
            )
        if http != 200 or after.state not in ("sealed", "unsealed"):
            raise UnsealError(
                f"no usable answer to the unseal share of {holder} (HTTP {http}).",
                item=place,
                rule="namespace-refused",
                fix="see the server's log, then run again: shares that are there already are not counted twice.",
                status=http,
            )
        if after.state == "sealed" and before.progress and after.nonce != before.nonce:
            raise UnsealError(
                f"somebody reset the round while the unseal share of {holder} was sent.",
                item=place,
                rule="namespace-nonce",
                fix="agree who unseals, then run again.",
            )
        grown = after.state == "unsealed" or after.progress > before.progress
        self.verdicts[holder] = "counted" if grown else "already there"
        if grown:
            self.counted.append(holder)

    def report(self) -> dict[str, t.Any]:
        return {**self.seal.report(), "sent": dict(self.verdicts), "changed": self.changed}


def plan_lines(seals: t.Sequence[Seal], holders: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Return what check mode says of each sealed namespace."""
    lines = []
    for seal in seals:
        names = list(holders.get(seal.wanted.path, ()))[: seal.needed]
        if seal.state != "sealed":
            lines.append(seal.line())
            continue
        missing = seal.needed - len(names)
        rest = f", {missing} more unseal share(s) missing" if missing else ", enough"
        lines.append(f"namespace {seal.wanted.path}: would send {', '.join(names) or 'nothing'}{rest}")
    return lines
