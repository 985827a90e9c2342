# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is wanted of snapshots, and the public record (sidecar) that lies beside each. No input, no output."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t
from datetime import UTC, datetime

from .._core.errors import InvalidInput, check
from .._core.redact import fingerprint
from .seal_model import NodeState
from .share_record import Record
from .snapshot_archive import Archive

#: A snapshot is NAME.snap, its sidecar NAME.snap.json, what is being written .NAME.snap.part.
SUFFIX: t.Final = ".snap"
SIDECAR: t.Final = ".json"
KIND: t.Final = "hackspace.infra/openbao-snapshot"

#: Why a snapshot was saved.
ASKED: t.Final = "asked"
SAFETY: t.Final = "before a restore"

State = t.Literal["saved", "verified", "restored"]
_TIME = "%Y%m%dT%H%M%SZ"
_PLAIN = re.compile(r"[^a-z0-9]+")


@dataclasses.dataclass(frozen=True)
class Keep:
    """How many snapshots are kept: the newest ones, and the newest of each of so many days, weeks and months."""

    last: int
    daily: int
    weekly: int
    monthly: int


@dataclasses.dataclass(frozen=True)
class Settings:
    """The module's checked options."""

    state: State
    folder: str
    file: str
    max_age: int
    keep: Keep
    prune: bool
    prune_max_percent: int
    force: bool
    confirm: str
    platform_name: str
    safety_snapshot: bool
    wait_timeout: int
    transfer_timeout: float
    shares_dir: str = ""


def parse_settings(raw: t.Mapping[str, t.Any]) -> Settings:
    """Return the checked options.

    :raises InvalidInput: rules ``folder-or-file``, ``option-without-effect``, ``not-negative``, ``positive``,
        ``percent``, ``keep-nothing``.
    """
    state = t.cast("State", raw["state"])
    needs = {"saved": ("folder",), "verified": ("folder", "file"), "restored": ("file",)}[state]
    given = [name for name in ("folder", "file") if raw.get(name)]
    used = [name for name in given if name in needs]
    check(
        len(used) == 1,
        f"state {state} needs {' or '.join(needs)}.",
        item=needs[0] if not used else used[0],
        rule="folder-or-file",
        fix="folder holds the snapshots of one cluster; file is one snapshot.",
    )
    idle = [name for name in given if name not in needs and not (state == "restored" and name == "folder")]
    if state != "restored":
        idle += [name for name in ("force", "confirm") if raw.get(name)]
    if state != "saved" and raw.get("prune"):
        idle.append("prune")
    check(
        not idle,
        f"does not go with state: {state}.",
        item=idle[0] if idle else "",
        rule="option-without-effect",
        fix="leave it out.",
    )
    for name in ("max_age", "keep_last", "keep_daily", "keep_weekly", "keep_monthly"):
        check(int(raw[name]) >= 0, "is negative.", item=name, rule="not-negative", fix="give 0 or more.")
    for name in ("wait_timeout", "transfer_timeout"):
        check(float(raw[name]) > 0, "is no time to wait.", item=name, rule="positive", fix="give seconds above 0.")
    check(
        0 <= int(raw["prune_max_percent"]) <= 100,
        f"{raw['prune_max_percent']} is no percentage.",
        item="prune_max_percent",
        rule="percent",
        fix="0 to 100.",
    )
    keep = Keep(*(int(raw[f"keep_{name}"]) for name in ("last", "daily", "weekly", "monthly")))
    check(
        not raw["prune"] or keep != Keep(0, 0, 0, 0),
        "nothing is to be kept.",
        item="prune",
        rule="keep-nothing",
        fix="set one of keep_last, keep_daily, keep_weekly, keep_monthly, or leave prune out.",
    )
    return Settings(
        state=state,
        folder=str(raw.get("folder") or "").rstrip("/") or ("/" if raw.get("folder") else ""),
        file=str(raw.get("file") or ""),
        max_age=int(raw["max_age"]),
        keep=keep,
        prune=bool(raw["prune"]),
        prune_max_percent=int(raw["prune_max_percent"]),
        force=bool(raw["force"]),
        confirm=str(raw.get("confirm") or ""),
        platform_name=str(raw.get("platform_name") or ""),
        safety_snapshot=bool(raw["safety_snapshot"]),
        wait_timeout=int(raw["wait_timeout"]),
        transfer_timeout=float(raw["transfer_timeout"]),
        shares_dir=str(raw.get("shares_dir") or ""),
    )


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Which cluster: its name, and a short hash of its id. The id is in the data: a restored cluster has it again."""

    name: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.name or 'without a name'} ({self.fingerprint or 'without an id'})"


def cluster_of(state: NodeState) -> Cluster:
    """Return the cluster of an unsealed node."""
    return Cluster(state.cluster_name, fingerprint(state.cluster_id) if state.cluster_id else "")


@dataclasses.dataclass(frozen=True)
class Shares:
    """What opens a snapshot.

    :ivar kind: ``unseal``, or ``recovery`` where the seal unseals by itself.
    :ivar generation: name of the set of shares; empty when no record was given.
    :ivar holders: holder and fingerprint of their share.
    :ivar rotating_to: generation of a rotation that was under way.
    """

    kind: str
    threshold: int
    total: int
    generation: str = ""
    holders: tuple[tuple[str, str], ...] = ()
    rotating_to: str = ""

    def words(self) -> str:
        """Say it to a person."""
        if self.kind == "recovery":
            return "the seal of that time (its key or its server); recovery shares do not unseal"
        text = f"{self.threshold} of {self.total} unseal shares of its time"
        if self.generation:
            text += f", generation {self.generation}"
        if self.holders:
            text += f", held by {', '.join(name for name, _mark in self.holders)}"
        if self.rotating_to:
            text += f" (a rotation to {self.rotating_to} was under way)"
        return text


def shares_of(state: NodeState, record: Record | None) -> tuple[Shares, str]:
    """Return what opens a snapshot of this server taken now, and a warning or an empty text.

    A record that does not fit the server is not believed: a backup is worth more than its record.

    :raises InvalidInput: ``shares-record-cluster``: the record is of another cluster.
    """
    kind = "recovery" if state.auto_unseal else "unseal"
    bare = Shares(kind, state.threshold, state.total)
    if record is None:
        return bare, ""
    theirs = str(record.cluster.get("cluster_id") or "")
    check(
        not theirs or not state.cluster_id or theirs == state.cluster_id,
        f"its shares.json is of another cluster, {record.cluster.get('cluster_name') or 'without a name'}.",
        item="shares_dir",
        rule="shares-record-cluster",
        fix="give the folder of this cluster's shares, or leave it out.",
    )
    total = record.shares or len(record.holders)
    if kind != record.kind or (kind == "unseal" and (record.threshold, total) != (state.threshold, state.total)):
        return bare, (
            f"shares.json tells of {record.threshold} of {total} {record.kind} shares, the server of "
            f"{state.threshold} of {state.total} {kind} shares: the record is not of the shares in force and is left "
            "out of the sidecar."
        )
    holders = tuple((entry.holder, entry.fingerprint) for entry in record.holders)
    rotating = record.rotation.generation if record.rotation else ""
    return dataclasses.replace(bare, generation=record.generation, holders=holders, rotating_to=rotating), ""


@dataclasses.dataclass(frozen=True)
class Sidecar:
    """What is known of a snapshot; nothing of it is secret.

    :ivar why: :data:`ASKED` or :data:`SAFETY`.
    :ivar key_term: term of the barrier key; ``None`` where the login could not read it.
    """

    file: str
    saved_at: datetime
    why: str
    cluster: Cluster
    version: str
    seal_type: str
    node: str
    size: int
    sha256: str
    index: int
    term: int
    key_term: int | None
    shares: Shares

    def document(self) -> dict[str, t.Any]:
        """Return what is written and reported."""
        shares = self.shares
        return {
            "kind": KIND,
            "format": 1,
            "file": self.file,
            "saved_at": self.saved_at.isoformat().replace("+00:00", "Z"),
            "why": self.why,
            "cluster": {"name": self.cluster.name, "fingerprint": self.cluster.fingerprint},
            "server": {"version": self.version, "seal_type": self.seal_type, "node": self.node},
            "size": self.size,
            "sha256": self.sha256,
            "raft": {"index": self.index, "term": self.term},
            "barrier_key_term": self.key_term,
            "shares": {
                "kind": shares.kind,
                "threshold": shares.threshold,
                "total": shares.total,
                "generation": shares.generation,
                "rotating_to": shares.rotating_to,
                "holders": [{"holder": name, "fingerprint": mark} for name, mark in shares.holders],
            },
        }

    def text(self) -> bytes:
        return (json.dumps(self.document(), indent=2) + "\n").encode()


def sidecar(
    file: str,
    archive: Archive,
    *,
    at: datetime,
    why: str,
    state: NodeState,
    key_term: int | None,
    shares: Shares,
) -> Sidecar:
    """Return the sidecar of a snapshot just taken of the node *state*."""
    return Sidecar(
        file=file,
        saved_at=at,
        why=why,
        cluster=cluster_of(state),
        version=state.version,
        seal_type=state.seal_type,
        node=state.name,
        size=archive.size,
        sha256=archive.sha256,
        index=archive.index,
        term=archive.term,
        key_term=key_term,
        shares=shares,
    )


def parse_sidecar(text: bytes, *, item: str) -> Sidecar:
    """Return the sidecar in a file.

    :raises InvalidInput: ``sidecar``.
    """
    try:
        data = json.loads(text)
        if data["kind"] != KIND or int(data["format"]) != 1:
            raise ValueError
        shares = data["shares"]
        at = datetime.fromisoformat(data["saved_at"])
        if at.tzinfo is None:
            raise ValueError
        return Sidecar(
            file=str(data["file"]),
            saved_at=at.astimezone(UTC),
            why=str(data["why"]),
            cluster=Cluster(str(data["cluster"]["name"]), str(data["cluster"]["fingerprint"])),
            version=str(data["server"]["version"]),
            seal_type=str(data["server"]["seal_type"]),
            node=str(data["server"]["node"]),
            size=int(data["size"]),
            sha256=str(data["sha256"]),
            index=int(data["raft"]["index"]),
            term=int(data["raft"]["term"]),
            key_term=None if data["barrier_key_term"] is None else int(data["barrier_key_term"]),
            shares=Shares(
                kind=str(shares["kind"]),
                threshold=int(shares["threshold"]),
                total=int(shares["total"]),
                generation=str(shares["generation"]),
                rotating_to=str(shares["rotating_to"]),
                holders=tuple((str(h["holder"]), str(h["fingerprint"])) for h in shares["holders"]),
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise InvalidInput(
            "is no sidecar of a snapshot, or is damaged.",
            item=item,
            rule="sidecar",
            fix="bring back the sidecar that was saved with the snapshot.",
        ) from None


def file_name(cluster: Cluster, at: datetime) -> str:
    """Return the name of a snapshot."""
    word = _PLAIN.sub("-", cluster.name.lower()).strip("-")[:40] or "cluster"
    return f"openbao-{word}-{at.astimezone(UTC).strftime(_TIME)}{SUFFIX}"


def is_ours(name: str) -> bool:
    """Say if a file may be one that this module wrote."""
    return re.fullmatch(r"openbao-[a-z0-9-]+-\d{8}T\d{6}Z\.snap", name) is not None


def against(archive: Archive, record: Sidecar, name: str) -> str:
    """Say what of *archive* is not as its sidecar tells; empty when all is."""
    if record.file != name:
        return f"its sidecar is of {record.file}"
    if (archive.size, archive.sha256) != (record.size, record.sha256):
        return "it is not the file that its sidecar describes (size or sha256 differ)"
    if (archive.index, archive.term) != (record.index, record.term):
        return "its sidecar tells of another index or term of raft"
    return ""
