# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""From how far each node is to what is next, and whether it may begin at all. No I/O, no clock."""

from __future__ import annotations

import dataclasses
import typing as t
from datetime import datetime

from .._core.errors import HackspaceError, InvalidInput, Refused, check
from .._core.plan import Change, Plan
from .._core.redact import fingerprint
from . import versions
from .migration_model import Phase, Seal, Standing, Target

StepKind = t.Literal["step_down", "configure", "migrate", "unseal", "wait"]

_PUBLIC = frozenset({"phase", "seal", "role"})


@dataclasses.dataclass(frozen=True)
class Step:
    """One step.

    :ivar kind: ``configure`` is the site's (new configuration, restart), the others are done through the API.
    """

    kind: StepKind
    node: str
    why: str

    def line(self) -> str:
        words = {
            "step_down": "gives up the lead",
            "configure": "gets its new configuration and is restarted by the site's task file",
            "migrate": "gets the shares, each with migrate",
            "unseal": "gets the unseal shares",
            "wait": "is waited for",
        }
        return f"{self.node}: {words[self.kind]}{f' ({self.why})' if self.why else ''}"


class Overview:
    """All nodes at one moment."""

    def __init__(self, nodes: t.Sequence[Standing], target: Target) -> None:
        self.nodes = list(nodes)
        self.target = target

    def by(self, name: str) -> Standing:
        return next(n for n in self.nodes if n.name == name)

    def named(self, *phases: Phase) -> list[str]:
        return [n.name for n in self.nodes if n.phase in phases]

    @property
    def active(self) -> Standing | None:
        return next((n for n in self.nodes if n.role == "active"), None)

    @property
    def done(self) -> bool:
        return all(n.phase == "done" for n in self.nodes)

    @property
    def started(self) -> bool:
        """Some node has its new configuration, so that nothing new begins: it is carried on."""
        return any(n.phase in ("pending", "armed", "unseal", "backend", "done") for n in self.nodes)

    @property
    def threshold(self) -> int:
        return max((n.threshold for n in self.nodes), default=0)

    @property
    def wants_shares(self) -> bool:
        """Some node is going to need shares before everything is done."""
        return any(step.kind in ("migrate", "unseal") for step in steps(self))

    def lines(self) -> list[str]:
        return [n.line() for n in self.nodes]


def order(view: Overview) -> list[str]:
    """Return the nodes that are not done, in the order in which they are taken.

    First what does not serve (a run that was cut off left it), then standbys, the active node last: no two nodes are
    down at a time, and the lead changes once.
    """
    rank: dict[str, tuple[int, int]] = {}
    for index, node in enumerate(view.nodes):
        if node.phase == "done" or (node.phase == "armed" and node.role != "active"):
            continue
        if node.wants_shares:
            first = 0
        elif not node.serves:
            first = 1
        elif node.role == "active":
            first = 3
        else:
            first = 2
        rank[node.name] = (first, index)
    return sorted(rank, key=lambda name: rank[name])


def steps(view: Overview) -> list[Step]:
    """Return every step from here to the end."""
    found: list[Step] = []
    single = len(view.nodes) == 1
    # Until a node with the new seal leads, each one wants its shares with migrate; afterwards it comes up as it is.
    changed = bool(view.active and view.active.phase == "done")
    for name in order(view):
        node = view.by(name)
        if node.phase == "old" and node.role == "active" and not single:
            found.append(Step("step_down", name, "the next node leads and changes the seal"))
            changed = True
        if node.phase in ("old", "unreachable", "blank"):
            found.append(
                Step("configure", name, "down until it is unsealed again" if node.serves else "does not serve")
            )
        if node.phase == "pending" or (node.phase in ("old", "unreachable", "blank") and not changed):
            found.append(Step("migrate", name, f"{node.threshold - node.progress or node.threshold} shares"))
        elif node.phase == "unseal" or (node.phase != "backend" and view.target == "shamir" and node.phase != "armed"):
            found.append(Step("unseal", name, f"{node.threshold - node.progress or node.threshold} unseal shares"))
        elif node.phase != "armed":
            found.append(Step("wait", name, "it unseals by itself"))
    return found


def as_plan(view: Overview, seal: Seal) -> Plan:
    """Return the core Plan: what check mode shows."""
    wanted = "shamir" if view.target == "shamir" else seal.describe()
    result = Plan(unchanged=len(view.named("done")))
    for step in steps(view):
        node = view.by(step.node)
        before = {"phase": node.phase, "role": node.role}
        if step.kind == "configure":
            after = {
                **before,
                "seal": wanted if view.target != "shamir" else f"{seal.type}, disabled",
                "phase": "pending",
            }
            result.add(Change("OpenBao node", step.node, "update", before, after, step.line(), _PUBLIC))
        elif step.kind == "step_down":
            result.add(
                Change("OpenBao node", step.node, "update", before, {**before, "role": "standby"}, step.line(), _PUBLIC)
            )
        elif step.kind in ("migrate", "unseal"):
            after = {**before, "phase": "done", "role": "standby"}
            result.add(Change("OpenBao node", step.node, "send", before, after, step.line(), _PUBLIC))
        else:
            result.add(
                Change("OpenBao node", step.node, "wait", before, {**before, "phase": "done"}, step.line(), _PUBLIC)
            )
    return result


# -- may it begin ------------------------------------------------------------------------------------------------------


def check_confirm(confirm: str, platform: str) -> None:
    """Check that somebody typed the site's name.

    :raises Refused: ``not-confirmed``.
    """
    if confirm and confirm == platform:
        return
    said = "nothing was typed" if not confirm else f"{confirm!r} was typed"
    raise Refused(
        f"a seal migration restarts every OpenBao server and decides who can unseal it; {said} to confirm it.",
        item="confirm",
        rule="not-confirmed",
        fix=f"read docs/seal_migration.md, then give the site's name: confirm: {platform}",
    )


def check_target(target: Target, seal: Seal) -> None:
    """Check that the seal described is the one to go to, or, on the way back, the one to leave.

    :raises InvalidInput: ``seal-target``.
    """
    check(
        target in ("shamir", seal.type),
        f"is {seal.type}, and the target is {target}.",
        item="seal.type",
        rule="seal-target",
        fix=f"describe the {target} seal; transit to static (or back) is two migrations, by way of shamir.",
    )


def check_version(view: Overview, seal: Seal, override: str | None) -> None:
    """Check that every server knows the seal.

    :raises HackspaceError: ``static-version``; or a version that cannot be told.
    """
    if seal.type != "static":
        return
    for node in view.nodes:
        if not node.version:
            continue
        version = versions.parse(node.version, override=override)
        if not version.has_static_seal:
            raise HackspaceError(
                f"is {version.title}; the static seal came with OpenBao 2.4.0.",
                item=f"node {node.name}",
                rule="static-version",
                fix="update every server first, or use transit.",
            )


def check_healthy(view: Overview) -> None:
    """Check that a migration may begin, or be carried on, on these nodes.

    :raises HackspaceError: ``no-node``, ``node-unhealthy``, ``no-leader``, ``other-cluster``, ``storage``,
        ``no-majority``.
    """
    if all(n.phase == "unreachable" for n in view.nodes):
        raise HackspaceError(
            f"no node answers. {'; '.join(view.lines())}",
            item="nodes",
            rule="no-node",
            fix="start the servers, correct the addresses.",
        )
    clusters = {n.cluster_id for n in view.nodes if n.cluster_id}
    if len(clusters) > 1:
        raise InvalidInput(
            "the nodes belong to different clusters.", item="nodes", rule="other-cluster", fix="correct the list."
        )
    stores = {n.storage for n in view.nodes if n.storage}
    if stores and stores != {"raft"}:
        raise HackspaceError(
            f"the storage is {', '.join(sorted(stores))}; there are snapshots of raft only.",
            item="nodes",
            rule="storage",
            fix="migrate the storage to raft first, or migrate the seal by hand, with a backup.",
        )
    if view.started:
        return
    sick = [n.line() for n in view.nodes if not n.serves]
    if sick:
        raise HackspaceError(
            f"a migration begins only when every node is unsealed. {'; '.join(sick)}.",
            item="nodes",
            rule="node-unhealthy",
            fix="run playbooks/unseal.yml, repair what does not answer, then run again.",
        )
    if view.active is None:
        raise HackspaceError("no node leads.", item="nodes", rule="no-leader", fix="wait for an election, run again.")
    if len(view.nodes) == 2:
        raise HackspaceError(
            "of two nodes none can be restarted without losing the majority.",
            item="nodes",
            rule="no-majority",
            fix="list every server of the cluster; a cluster has one, three or five.",
        )


def check_kind(current: t.Sequence[str], target: Target) -> None:
    """Check that storage is not sealed by something else than the two ends of this migration.

    :param current: types of the enabled seals that the active node is configured with; empty if it does not tell.
    :raises Refused: ``two-steps``.
    """
    autos = [kind for kind in current if kind != "shamir"]
    if target != "shamir" and autos and autos != [target]:
        raise Refused(
            f"the seal is {', '.join(autos)} now; from there to {target} it is two migrations.",
            item="target",
            rule="two-steps",
            fix=f"migrate to shamir first (the same holders), then to {target}.",
        )


def check_provider(status: t.Mapping[str, t.Any] | None, view: Overview) -> str:
    """Check that the server with the transit engine is not of the cluster that it would unseal.

    :param status: its ``sys/seal-status``; ``None`` if it does not tell.
    :return: what should be known about it, or empty.
    :raises InvalidInput: ``seal-circle``.
    """
    found = status or {}
    ours = {n.cluster_id for n in view.nodes if n.cluster_id}
    check(
        found.get("cluster_id") not in ours,
        "is an address of the cluster that it would have to unseal.",
        item="seal.address",
        rule="seal-circle",
        fix="the transit engine belongs on another OpenBao that needs nothing of this platform to start.",
    )
    if not found.get("recovery_seal"):
        return ""
    return (
        "the OpenBao at seal.address unseals by a seal of its own, too. If that one needs anything of this platform, "
        "neither starts after a power cut. Unseal shares break the circle there."
    )


def check_holders_enough(view: Overview, holders: t.Sequence[str]) -> None:
    """Check that the shares at hand suffice on every node.

    :raises InvalidInput: ``too-few-shares``.
    """
    if not view.wants_shares:
        return
    needed = view.threshold
    if len(holders) < needed:
        who = f" ({', '.join(holders)})" if holders else ""
        raise InvalidInput(
            f"{len(holders)} holder(s) are at hand{who}, {needed} are needed on each node.",
            item="holders",
            rule="too-few-shares",
            fix=f"add {needed - len(holders)} more before the first server is restarted.",
            data={"holders": list(holders), "required": needed},
        )


def check_members(members: t.Sequence[t.Mapping[str, t.Any]], healthy: bool | None, view: Overview) -> None:
    """Check raft's own view of the cluster.

    :param members: servers of ``sys/storage/raft/configuration``.
    :param healthy: what autopilot says, ``None`` if it says nothing.
    :raises HackspaceError: ``nodes-incomplete``, ``no-vote``, ``raft-unhealthy``.
    """
    names = [str(m.get("node_id") or m.get("address") or "?") for m in members]
    if len(members) != len(view.nodes):
        raise InvalidInput(
            f"raft has {len(members)} member(s) ({', '.join(names)}), the list has {len(view.nodes)}.",
            item="nodes",
            rule="nodes-incomplete",
            fix="list every server; remove members that are gone from raft.",
        )
    learners = [name for name, m in zip(names, members, strict=True) if not m.get("voter", True)]
    if learners:
        raise HackspaceError(
            f"{', '.join(learners)} has no vote yet.",
            item="nodes",
            rule="no-vote",
            fix="wait until autopilot has promoted it.",
        )
    if healthy is False:
        raise HackspaceError(
            "autopilot says that the cluster is not healthy.",
            item="nodes",
            rule="raft-unhealthy",
            fix="see sys/storage/raft/autopilot/state; wait for nodes that lag behind.",
        )


def check_snapshot(
    *, path: str, problem: str, saved_at: datetime | None, cluster: str, view: Overview, now: datetime, max_age: int
) -> None:
    """Check that there is a way back: a whole snapshot of this cluster, young enough.

    :param problem: why the file cannot be used, or empty.
    :param cluster: fingerprint of the cluster in its sidecar.
    :raises HackspaceError: ``snapshot-missing``, ``snapshot-damaged``, ``snapshot-cluster``, ``snapshot-age``.
    """
    take = (
        "take one: ansible-playbook -i INVENTORY playbooks/snapshot.yml -e openbao_snapshot_max_age=0; "
        "then name the file."
    )
    if not path or (problem and saved_at is None and problem == "missing"):
        said = f"{path} does not exist" if path else "none is named"
        raise Refused(
            f"a seal migration begins with a snapshot, and {said}.", item="snapshot", rule="snapshot-missing", fix=take
        )
    if problem:
        raise HackspaceError(f"{path}: {problem}", item="snapshot", rule="snapshot-damaged", fix=take)
    mine = next((fingerprint(n.cluster_id) for n in view.nodes if n.cluster_id), "")
    if mine and cluster != mine:
        raise HackspaceError(
            f"{path} is of another cluster ({cluster or 'not known'}; this one is {mine}).",
            item="snapshot",
            rule="snapshot-cluster",
            fix=take,
        )
    age = (now - saved_at).total_seconds() if saved_at else max_age + 1
    if age > max_age:
        raise Refused(
            f"{path} is {_span(age)} old, older than {_span(max_age)}.", item="snapshot", rule="snapshot-age", fix=take
        )


def _span(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def check_restart(view: Overview, name: str) -> None:
    """Check that *name* can be taken down now: everybody else serves.

    :raises HackspaceError: ``no-majority``.
    """
    node = view.by(name)
    if not node.serves or len(view.nodes) == 1:
        return
    others = [n.line() for n in view.nodes if n.name != name and not n.serves]
    if others:
        raise HackspaceError(
            f"is not restarted while others do not serve. {'; '.join(others)}.",
            item=f"node {name}",
            rule="no-majority",
            fix="repair them, then run again: it goes on where it stopped.",
        )
