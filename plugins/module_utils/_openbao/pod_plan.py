# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""OpenBao servers that are pods: which there are, which are still to come, and by what name each is known. No I/O.

Labels that say whether a server is sealed or active are not looked at: they are stale after a hard kill.
"""

from __future__ import annotations

import dataclasses
import re
import string
import typing as t

from .._core.errors import HackspaceError, InvalidInput, check
from .seal_model import Node, Overview, Problem

#: What openbao-helm puts on its server pods.
LABELS: t.Final = "app.kubernetes.io/name=openbao,component=server"
TLS_NAME: t.Final = "{pod}.{service}"
PORT: t.Final = 8200

_PLACES: t.Final = ("pod", "namespace", "service")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_ORDINAL = re.compile(r"-(\d+)$")

#: Hops of a Problem: the pod is not there yet; it is there and does not run.
ABSENT: t.Final = "absent"
NOT_RUNNING: t.Final = "pod"


@dataclasses.dataclass(frozen=True)
class Selector:
    """Where the servers are and what to expect of them.

    :ivar tls_server_name: pattern of the name in the certificates.
    :ivar expected: number of pods; ``None`` takes it from the StatefulSets that own them.
    """

    namespace: str
    label_selector: str = LABELS
    port: int = PORT
    tls_server_name: str = TLS_NAME
    expected: int | None = None

    @property
    def text(self) -> str:
        return f"pods with the labels {self.label_selector} in namespace {self.namespace}"


def parse_selector(raw: t.Mapping[str, t.Any], *, item: str = "pods") -> Selector:
    """Return the selector, checked.

    :raises InvalidInput: rules ``namespace``, ``label-selector``, ``port``, ``tls-server-name``, ``expected``.
    """
    found = Selector(
        namespace=str(raw.get("namespace") or ""),
        label_selector=str(raw.get("label_selector") or LABELS).strip(),
        port=PORT if raw.get("port") is None else int(raw["port"]),
        tls_server_name=str(raw.get("tls_server_name") or TLS_NAME).strip(),
        expected=None if raw.get("expected") is None else int(raw["expected"]),
    )
    check(
        _NAMESPACE.fullmatch(found.namespace),
        f"{found.namespace!r} is no name of a Kubernetes namespace.",
        item=f"{item}.namespace",
        rule="namespace",
        fix="give the namespace in which OpenBao's pods are.",
    )
    check(
        "=" in found.label_selector or " in " in found.label_selector,
        f"{found.label_selector!r} selects nothing in particular.",
        item=f"{item}.label_selector",
        rule="label-selector",
        fix=f"give labels as key=value, joined by commas, as in {LABELS}.",
    )
    check(
        1 <= found.port <= 65535,
        f"{found.port} is no port.",
        item=f"{item}.port",
        rule="port",
        fix="give the port on which OpenBao listens in its pod, usually 8200.",
    )
    try:
        fields = [name for _text, name, _spec, _conv in string.Formatter().parse(found.tls_server_name) if name]
        broken = "{}" in found.tls_server_name or any(name not in _PLACES for name in fields)
    except ValueError:
        broken = True
    check(
        not broken,
        f"{found.tls_server_name!r} cannot be filled in.",
        item=f"{item}.tls_server_name",
        rule="tls-server-name",
        fix="use {pod}, {namespace} and {service} only, or a plain name that all certificates have.",
    )
    check(
        found.expected is None or found.expected >= 1,
        f"{found.expected} pods are none.",
        item=f"{item}.expected",
        rule="expected",
        fix="give the number of OpenBao servers, or leave it out.",
    )
    return found


# -- what the cluster says ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Pod:
    """One pod. ``restarts`` is the sum over its containers, ``owner`` the StatefulSet that made it."""

    name: str
    uid: str
    phase: str
    ready: bool = False
    leaving: bool = False
    restarts: int = 0
    waiting: str = ""
    hostname: str = ""
    service: str = ""
    owner: str = ""

    @classmethod
    def of(cls, raw: t.Mapping[str, t.Any]) -> Pod:
        """Return what matters of a pod object."""
        metadata, spec, status = raw.get("metadata") or {}, raw.get("spec") or {}, raw.get("status") or {}
        containers = status.get("containerStatuses") or []
        conditions = status.get("conditions") or []
        waits = [str(((c.get("state") or {}).get("waiting") or {}).get("reason") or "") for c in containers]
        unmet = [str(c.get("reason") or "") for c in conditions if c.get("status") == "False"]
        owners = metadata.get("ownerReferences") or []
        return cls(
            name=str(metadata.get("name") or ""),
            uid=str(metadata.get("uid") or ""),
            phase=str(status.get("phase") or "Pending"),
            ready=any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions),
            leaving=bool(metadata.get("deletionTimestamp")),
            restarts=sum(int(c.get("restartCount") or 0) for c in containers),
            waiting=next((w for w in (*waits, *unmet) if w), ""),
            hostname=str(spec.get("hostname") or ""),
            service=str(spec.get("subdomain") or ""),
            owner=next((str(o.get("name")) for o in owners if o.get("kind") == "StatefulSet"), ""),
        )

    @property
    def running(self) -> bool:
        return self.phase == "Running" and not self.leaving

    @property
    def incarnation(self) -> tuple[str, int]:
        """Differs once the server behind the name is another process."""
        return self.uid, self.restarts

    def problem(self) -> Problem | None:
        """Say why there is nothing to connect to."""
        if self.running:
            return None
        state = "is being deleted" if self.leaving else f"is {self.phase}"
        why = f" ({self.waiting})" if self.waiting and not self.leaving else ""
        return Problem(NOT_RUNNING, f"the pod {state}{why}.", "see its events: kubectl describe pod.")


@dataclasses.dataclass(frozen=True)
class Owner:
    """A StatefulSet."""

    name: str
    replicas: int
    ordered: bool = True
    start: int = 0

    @classmethod
    def of(cls, raw: t.Mapping[str, t.Any]) -> Owner:
        """Return what matters of a StatefulSet object."""
        spec = raw.get("spec") or {}
        return cls(
            name=str((raw.get("metadata") or {}).get("name") or ""),
            replicas=1 if spec.get("replicas") is None else int(spec["replicas"]),
            ordered=spec.get("podManagementPolicy") != "Parallel",
            start=int((spec.get("ordinals") or {}).get("start") or 0),
        )


@dataclasses.dataclass(frozen=True)
class Roster:
    """All servers at one moment: pods that are there, and names of those that are still to come."""

    selector: Selector
    pods: tuple[Pod, ...]
    absent: tuple[str, ...] = ()
    ordered: bool = True

    @property
    def expected(self) -> int:
        return len(self.pods) + len(self.absent)

    @property
    def complete(self) -> bool:
        return not self.absent and all(pod.running for pod in self.pods)

    @property
    def ready(self) -> list[str]:
        return [pod.name for pod in self.pods if pod.ready and not pod.leaving]

    def nodes(self) -> list[Node]:
        """Return every server as a node: in the order of the pods' ordinals, absent ones last."""
        known = [self.node(pod.name, pod.service, pod.hostname) for pod in self.pods]
        service = next((pod.service for pod in self.pods if pod.service), "")
        return [*known, *(self.node(name, service) for name in self.absent)]

    def node(self, name: str, service: str, hostname: str = "") -> Node:
        """Return a server's node. Its url is the name by which pods of the cluster reach it."""
        namespace = self.selector.namespace
        host = f"{hostname or name}.{service}.{namespace}.svc" if service else f"{name}.{namespace}.pod"
        expected = self.selector.tls_server_name.format(pod=name, namespace=namespace, service=service)
        return Node(name, f"https://{host}:{self.selector.port}", expected.rstrip("."))

    def problems(self) -> dict[str, Problem]:
        """Return why there is nothing to connect to, by name."""
        found = {pod.name: problem for pod in self.pods if (problem := pod.problem())}
        why = "it is made once those before it are Ready." if self.ordered else "its StatefulSet has not made it."
        return {**found, **{name: Problem(ABSENT, f"there is no such pod yet; {why}") for name in self.absent}}

    def report(self) -> dict[str, t.Any]:
        """Return the public description."""
        return {
            "namespace": self.selector.namespace,
            "expected": self.expected,
            "found": [pod.name for pod in self.pods],
            "running": [pod.name for pod in self.pods if pod.running],
            "ready": self.ready,
            "absent": list(self.absent),
        }


def owners_of(pods: t.Sequence[Pod]) -> list[str]:
    """Return the names of the StatefulSets that own *pods*."""
    return list(dict.fromkeys(pod.owner for pod in pods if pod.owner))


def roster(selector: Selector, pods: t.Sequence[Pod], owners: t.Mapping[str, Owner | None]) -> Roster:
    """Return who is there and who is to come.

    :param owners: StatefulSets by the names of :func:`owners_of`, ``None`` for one that does not exist. Not needed if
        the selector says how many pods to expect.
    :raises HackspaceError: rules ``no-pods``, ``statefulset-missing``.
    """
    if not pods:
        raise HackspaceError(
            f"there are no {selector.text}.",
            item="pods",
            rule="no-pods",
            fix="correct pods.namespace and pods.label_selector; kubectl get pods --show-labels shows what there is.",
        )
    found = tuple(sorted(pods, key=_order))
    names = {pod.name for pod in found}
    if selector.expected is not None:
        base = next((pod.owner for pod in found if pod.owner), "") or "pod"
        start = next((owner.start for owner in owners.values() if owner), 0)
        likely = [f"{base}-{start + number}" for number in range(selector.expected + len(found))]
        rest = [name for name in likely if name not in names]
        ordered = all(owner.ordered for owner in owners.values() if owner)
        return Roster(selector, found, tuple(rest[: max(selector.expected - len(found), 0)]), ordered)
    lost = [pod.name for pod in found if not pod.owner]
    if lost:
        raise _no_owner(f"{', '.join(lost)} belong(s) to no StatefulSet")
    gone = [name for name in owners_of(found) if owners.get(name) is None]
    if gone:
        mine = ", ".join(pod.name for pod in found if pod.owner in gone)
        raise _no_owner(f"the StatefulSet {', '.join(gone)}, which made {mine}, does not exist")
    there = [owner for owner in owners.values() if owner]
    wanted = [f"{owner.name}-{owner.start + number}" for owner in there for number in range(owner.replicas)]
    return Roster(
        selector, found, tuple(name for name in wanted if name not in names), all(owner.ordered for owner in there)
    )


def _no_owner(what: str) -> HackspaceError:
    return HackspaceError(
        f"{what}, so it is not known how many OpenBao servers there are.",
        item="pods",
        rule="statefulset-missing",
        fix="set pods.expected to their number.",
    )


def _order(pod: Pod) -> tuple[str, int, str]:
    match = _ORDINAL.search(pod.name)
    return pod.owner, int(match.group(1)) if match else -1, pod.name


def awaited(seen: Roster, overview: Overview, busy: t.Container[str]) -> list[str]:
    """Return the names of pods that will come, or come back, without anybody's further share.

    A pod that stays sealed keeps those after it from being made, so there is nothing to wait for then.

    :param busy: names of pods that are about to get shares.
    """
    waiting = list(seen.problems())
    stuck = any(
        state.state not in ("unsealed", "joining", "unreachable") and state.name not in busy
        for state in overview.states
    )
    return [] if stuck else waiting


def check_watch(seconds: int) -> None:
    """:raises InvalidInput: rule ``watch``."""
    if not 0 <= seconds <= 3600:
        raise InvalidInput(
            f"{seconds} s is no time to watch for.",
            item="watch",
            rule="watch",
            fix="give 0 to 3600 seconds: shares stay in memory as long.",
        )
