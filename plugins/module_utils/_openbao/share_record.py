# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The public record of who holds which unseal share: ``shares.json``, beside the share files. Nothing in it is secret.

The folder has the current shares at its top. ``generations/<generation>/`` has those of other times, with the record of
that time: they open snapshots that are as old.
"""

from __future__ import annotations

import dataclasses
import json
import os
import typing as t
from datetime import UTC, datetime

from .._core import private_files
from .._core.errors import InvalidInput

#: The record's name, beside the share files.
RECORD: t.Final = "shares.json"

#: The folder of the generations, one folder each.
GENERATIONS: t.Final = "generations"

#: States of a record. ``prepared`` is written before the request to initialise, ``written`` once every share is in its
#: file, ``complete`` once the administrators can log in and the root token is revoked. ``adopted`` is a record made
#: for a cluster that others initialised, ``unknown`` one that knows of a rotation under way only.
STATES: t.Final = ("prepared", "written", "complete", "adopted", "unknown")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One holder's share.

    :ivar recipient: public label of the key it is encrypted to; empty in an adopted record.
    :ivar fingerprint: first 12 hex digits of the sha256 of the share's bytes; empty where only the holder could know.
    :ivar verified_at: when the holder last showed that the share is there; empty if never.
    """

    holder: str
    file: str = ""
    recipient: str = ""
    fingerprint: str = ""
    verified_at: str = ""


@dataclasses.dataclass(frozen=True)
class Rotation:
    """New shares on their way (docs/shares.md has the table of states).

    :ivar state: ``beginning``, ``collecting``, ``handed-out``, ``verifying``, ``verified``.
    :ivar nonce: the server's name of the attempt; public.
    :ivar given: holders of the old shares that the server has counted.
    :ivar proof_nonce: of an attempt that only finds out which generation is in force.
    """

    state: str
    generation: str
    begun_at: str
    threshold: int
    holders: tuple[Entry, ...]
    encrypted_on: str = "controller"
    nonce: str = ""
    given: tuple[str, ...] = ()
    proof_nonce: str = ""

    def entry(self, holder: str) -> Entry | None:
        return next((e for e in self.holders if e.holder == holder), None)


@dataclasses.dataclass(frozen=True)
class Record:
    """Who holds what.

    :ivar generation: random name of this set of shares, so that files of two sets are never mixed.
    :ivar made_at: when these shares were made (UTC, ISO 8601).
    :ivar kind: ``unseal``, or ``recovery`` where the seal unseals by itself.
    """

    state: str
    generation: str
    made_at: str
    kind: str
    threshold: int
    holders: tuple[Entry, ...]
    shares: int = 0
    initialised_at: str = ""
    previous: str = ""
    nodes: tuple[dict[str, str], ...] = ()
    cluster: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    rotation: Rotation | None = None

    def entry(self, holder: str) -> Entry | None:
        return next((e for e in self.holders if e.holder == holder), None)

    def with_entry(self, entry: Entry) -> Record:
        """Return the record with the entry of that holder replaced."""
        return dataclasses.replace(self, holders=tuple(entry if e.holder == entry.holder else e for e in self.holders))

    def document(self) -> dict[str, t.Any]:
        """Return what is written to the file."""
        found: dict[str, t.Any] = {
            "format": 1,
            "state": self.state,
            "generation": self.generation,
            "initialised_at": self.initialised_at,
            "made_at": self.made_at,
            "previous": self.previous,
            "kind": self.kind,
            "shares": self.shares or len(self.holders),
            "threshold": self.threshold,
            "nodes": [dict(n) for n in self.nodes],
            "cluster": {k: self.cluster.get(k, "") for k in ("cluster_name", "cluster_id")},
            "holders": [dataclasses.asdict(e) for e in self.holders],
        }
        if self.rotation:
            found["rotation"] = dataclasses.asdict(self.rotation)
        return found


def now() -> str:
    """Return the present time as records have it."""
    return datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def days_since(at: str, present: str) -> int | None:
    """Return the whole days between two times of records; ``None`` if *at* is none."""
    try:
        return (datetime.fromisoformat(present) - datetime.fromisoformat(at)).days
    except (ValueError, TypeError):
        return None


def path_of(folder: str) -> str:
    return os.path.join(folder, RECORD)


def generation_folder(folder: str, generation: str) -> str:
    return os.path.join(folder, GENERATIONS, generation)


def read(folder: str) -> Record | None:
    """Return the record in *folder*; ``None`` if there is none.

    :raises InvalidInput: ``record``; it cannot be read or is no record.
    """
    path = path_of(folder)
    try:
        with open(path, encoding="utf-8") as handle:
            data = json.load(handle)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not JSON"
        raise _no_record(path, why) from None
    return parse(data, path)


def write(folder: str, record: Record) -> None:
    """Replace the record in *folder*, whole or not at all."""
    private_files.replace(path_of(folder), (json.dumps(record.document(), indent=2) + "\n").encode())


def older(folder: str) -> list[Record]:
    """Return the records of other generations that are kept in *folder*; what cannot be read is left out."""
    place = os.path.join(folder, GENERATIONS)
    found: list[Record] = []
    for name in sorted(os.listdir(place)) if os.path.isdir(place) else []:
        try:
            record = read(os.path.join(place, name))
        except InvalidInput:
            continue
        if record:
            found.append(record)
    return found


def parse(data: t.Any, path: str) -> Record:
    """Return the record that *data* describes.

    :raises InvalidInput: ``record``.
    """
    try:
        rotation = data.get("rotation")
        return Record(
            state=str(data["state"]),
            generation=str(data["generation"]),
            made_at=str(data.get("made_at") or data.get("initialised_at") or ""),
            kind=str(data.get("kind") or "unseal"),
            threshold=int(data["threshold"]),
            holders=tuple(_entry(e) for e in data["holders"]),
            shares=int(data.get("shares") or len(data["holders"])),
            initialised_at=str(data.get("initialised_at") or ""),
            previous=str(data.get("previous") or ""),
            nodes=tuple({str(k): str(v) for k, v in n.items()} for n in data.get("nodes") or ()),
            cluster={str(k): str(v) for k, v in (data.get("cluster") or {}).items()},
            rotation=_rotation(rotation) if rotation else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _no_record(path, "not a record of unseal shares") from None


def _entry(data: t.Mapping[str, t.Any]) -> Entry:
    names = [f.name for f in dataclasses.fields(Entry)]
    entry = Entry(**{name: str(data.get(name) or "") for name in names})
    if not entry.holder or os.path.basename(entry.file) != entry.file:
        raise ValueError("no entry")
    return entry


def _rotation(data: t.Mapping[str, t.Any]) -> Rotation:
    generation = str(data["generation"])
    if not generation.isalnum():
        raise ValueError("no generation")
    return Rotation(
        state=str(data["state"]),
        generation=generation,
        begun_at=str(data.get("begun_at") or ""),
        threshold=int(data["threshold"]),
        holders=tuple(_entry(e) for e in data["holders"]),
        encrypted_on=str(data.get("encrypted_on") or "controller"),
        nonce=str(data.get("nonce") or ""),
        given=tuple(str(x) for x in data.get("given") or ()),
        proof_nonce=str(data.get("proof_nonce") or ""),
    )


def _no_record(path: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"{path} cannot be used ({why}).",
        item="output_dir",
        rule="record",
        fix="restore it from a backup, or move it away and make it anew with openbao_shares_do=adopt.",
    )
