# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What an application of the table does beyond applying objects, as pure functions.

The table that was applied last is kept; classes whose number changes are replaced; limits pass from manifests to
Kyverno and back; what was made for another backend is told from what is pruned; all in stages that may be cut off.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from .._core.errors import Refused
from .._core.plan import Change
from .._core.prune import check_prune
from .._kube.model import Inventory, ObjectId, Resource
from .._kube.normalise import comparable
from .._kube.plan import ApplyStep, DeleteStep, RecordStep
from . import limits
from .model import Priority, Table
from .parts import PART_OF, Object, labels, metadata
from .policies import Backends
from .resolve import Resolution, of_object

#: The ConfigMap with the table that was applied last, in the namespace of the inventory.
TABLE_NAME: t.Final = "namespace-tiers-table"
TABLE_KEY: t.Final = "table"
GENERATED: t.Final = "generate.kyverno.io/"
POLICY_LABEL: t.Final = f"{GENERATED}policy-name"
MANAGED_BY: t.Final = "app.kubernetes.io/managed-by"
#: Labels of the Deployment that answers Kyverno's webhooks.
ADMISSION_CONTROLLER: t.Final = "app.kubernetes.io/component=admission-controller,app.kubernetes.io/part-of=kyverno"
KYVERNO_GROUP: t.Final = "policies.kyverno.io"

_ADMISSION: t.Final = "admissionregistration.k8s.io"
_VERSION: t.Final = re.compile(r"v?(\d+\.\d+\.\d+)\b")


@dataclasses.dataclass(frozen=True)
class HandOverStep:
    """Replace this object: the same limits, owned by somebody else."""

    id: ObjectId
    resource: Resource
    body: Mapping[str, t.Any] = dataclasses.field(repr=False)


def table_object(table: Table, merged: Mapping[str, t.Any], inventory: Inventory) -> Object:
    """Return the ConfigMap that keeps the table; *merged* is the table with its base filled in."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(table, TABLE_NAME, inventory.namespace),
        "data": {TABLE_KEY: json.dumps(merged, sort_keys=True, indent=1)},
    }


def is_table(one: ObjectId) -> bool:
    """Say whether this is the ConfigMap with the table."""
    return one.group_kind == ("", "ConfigMap") and one.name == TABLE_NAME


# -- versions ------------------------------------------------------------------------------------------------------


def _arguments(deployments: Iterable[Mapping[str, t.Any]]) -> Iterator[dict[str, str]]:
    """Yield the arguments of each container, by name."""
    for one in deployments:
        pod = ((one.get("spec") or {}).get("template") or {}).get("spec") or {}
        for container in pod.get("containers") or ():
            yield dict(str(word).lstrip("-").partition("=")[::2] for word in container.get("args") or ())


def exceptions_everywhere(deployments: Iterable[Mapping[str, t.Any]]) -> bool:
    """Say whether Kyverno goes by PolicyExceptions of every namespace, as the arguments of its Deployment tell."""
    return any(
        given.get("enablePolicyException") == "true" and given.get("exceptionNamespace") == "*"
        for given in _arguments(deployments)
    )


def exceptions_ignored(deployments: Iterable[Mapping[str, t.Any]], namespace: str) -> str:
    """Return the argument by which Kyverno does not go by PolicyExceptions of *namespace*; empty if none says so."""
    for given in _arguments(deployments):
        if given.get("enablePolicyException") == "false":
            return "--enablePolicyException=false"
        only = given.get("exceptionNamespace") or "*"
        if only not in ("*", namespace):
            return f"--exceptionNamespace={only}"
    return ""


def kyverno_version(deployments: Iterable[Mapping[str, t.Any]]) -> str:
    """Return the version of Kyverno's admission controller by the tag of its image; empty if it does not say."""
    for one in deployments:
        pod = ((one.get("spec") or {}).get("template") or {}).get("spec") or {}
        for container in pod.get("containers") or ():
            if container.get("name") != "kyverno":
                continue
            image = str(container.get("image") or "").partition("@")[0]
            match = _VERSION.match(image.rpartition(":")[2])
            if match:
                return match[1]
    return ""


# -- classes -------------------------------------------------------------------------------------------------------


def replaced(
    wanted: Iterable[Priority], live: Iterable[Mapping[str, t.Any]], inventory: Inventory, *, allowed: bool, adopt: bool
) -> dict[str, Mapping[str, t.Any]]:
    """Return the live classes that have to be deleted and made again, by name.

    :raises Refused: when there are some and that is not allowed, or one belongs to somebody else.
    """
    by_name = {str(one["metadata"]["name"]): one for one in live}
    found: dict[str, Mapping[str, t.Any]] = {}
    said = []
    for one in wanted:
        there = by_name.get(one.name)
        if there is None:
            continue
        policy = str(there.get("preemptionPolicy") or "PreemptLowerPriority")
        differs = []
        if there.get("value") != one.value:
            differs.append(f"value {there.get('value')} -> {one.value}")
        if policy != one.preemption:
            differs.append(f"preemption {policy} -> {one.preemption}")
        if not differs:
            continue
        ours = (there["metadata"].get("labels") or {}).get(inventory.label) == inventory.name
        if not (ours or adopt):
            raise Refused(
                f"it exists with {differs[0].partition(' -> ')[0]} and is not ours.",
                item=f"PriorityClass {one.name}",
                rule="foreign",
                fix="choose another class in the table, or set adopt: true to take it over.",
            )
        found[one.name] = there
        said.append(f"{one.name} ({', '.join(differs)})")
    if found and not allowed:
        raise Refused(
            f"Kubernetes lets neither value nor preemption of a PriorityClass change: {'; '.join(said)}.",
            item=f"PriorityClass {next(iter(found))}",
            rule="class-immutable",
            fix="set replace_priority_classes: true to delete and make it again (pods that run keep their number until "
            "they are made again), or give the namespace tier a class of another name.",
            data={"classes": said},
        )
    return found


# -- limits from one owner to the other ----------------------------------------------------------------------------


def policy_of(table: Table, kind: str) -> str:
    """Return the name of the Kyverno policy that generates objects of a kind."""
    return f"{table.prefix}{'limits' if kind == 'LimitRange' else 'quota'}"


def generated_by_us(one: Mapping[str, t.Any]) -> bool:
    """Say whether Kyverno made this for one of our policies."""
    its = (one.get("metadata") or {}).get("labels") or {}
    return its.get("app.kubernetes.io/part-of") == PART_OF and POLICY_LABEL in its


def _replaceable(live: Mapping[str, t.Any]) -> Object:
    """Return a copy to be changed and sent back."""
    body: Object = json.loads(json.dumps(live))
    body["metadata"].pop("managedFields", None)
    body.pop("status", None)
    return body


def to_kyverno(
    table: Table, one: ObjectId, live: Mapping[str, t.Any], namespace: Mapping[str, t.Any], inventory: Inventory
) -> Object | None:
    """Return our LimitRange or ResourceQuota with the marks by which Kyverno knows it as its own.

    Kyverno leaves objects alone that it has not made, so without the marks it would never keep them up to date.

    :return: ``None`` if the table wants no such object there.
    """
    resolution = of_object(table, namespace)
    if not any((kind, name) == (one.kind, one.name) for kind, name, _spec in limits.wanted(table, resolution)):
        return None
    body = _replaceable(live)
    meta = body["metadata"]
    meta["annotations"] = {k: v for k, v in (meta.get("annotations") or {}).items() if k != inventory.applied}
    kept = {k: v for k, v in (meta.get("labels") or {}).items() if k != inventory.label}
    meta["labels"] = {
        **kept,
        **labels(table, resolution.tier, manager=""),
        MANAGED_BY: "kyverno",
        POLICY_LABEL: policy_of(table, one.kind),
        f"{GENERATED}trigger-name": one.namespace,
        f"{GENERATED}trigger-namespace": "",
        f"{GENERATED}trigger-uid": str(namespace["metadata"].get("uid") or ""),
        f"{GENERATED}trigger-kind": "Namespace",
        f"{GENERATED}trigger-group": "",
        f"{GENERATED}trigger-version": "v1",
    }
    return body


def without_kyverno(live: Mapping[str, t.Any]) -> Object | None:
    """Return an object without Kyverno's marks; ``None`` if it has none."""
    its = (live.get("metadata") or {}).get("labels") or {}
    if not any(key.startswith(GENERATED) for key in its):
        return None
    body = _replaceable(live)
    body["metadata"]["labels"] = {k: v for k, v in its.items() if not k.startswith(GENERATED)}
    return body


def stays(
    generated: Mapping[ObjectId, Mapping[str, t.Any]],
    alive: Mapping[str, Mapping[str, t.Any]],
    inventory: Inventory,
    *,
    prune: bool,
) -> frozenset[ObjectId]:
    """Return the generated limits that Kyverno goes on to keep, so that two owners never pull at one object.

    :param alive: Kyverno's generating policies by name; those of this inventory go when *prune* is set.
    """
    keepers = {
        name
        for name, one in alive.items()
        if not (prune and (one["metadata"].get("labels") or {}).get(inventory.label) == inventory.name)
    }
    return frozenset(one for one, live in generated.items() if live["metadata"]["labels"][POLICY_LABEL] in keepers)


def keeps(policy: Mapping[str, t.Any]) -> bool:
    """Say whether Kyverno keeps what this policy generated as it is."""
    evaluation = policy["spec"].get("evaluation") or {}
    return bool((evaluation.get("synchronize") or {}).get("enabled"))


def quiet(policy: Mapping[str, t.Any]) -> Object:
    """Return a generating policy that keeps nothing and makes nothing in namespaces that are there already."""
    body = _replaceable(policy)
    body["metadata"] = {
        key: body["metadata"][key] for key in ("name", "labels", "annotations") if key in body["metadata"]
    }
    body["spec"]["evaluation"] = {
        **(body["spec"].get("evaluation") or {}),
        "synchronize": {"enabled": False},
        "generateExisting": {"enabled": False},
    }
    return body


def changed_backends(
    recorded: Iterable[ObjectId], table: Table, backends: Backends, automatic: Iterable[str]
) -> list[str]:
    """Return one sentence for each concern that was left to us and passes from one backend to the other."""
    concerns = set()
    for one in recorded:
        if one.kind in ("LimitRange", "ResourceQuota") and backends.limits == "kyverno":
            concerns.add("limits")
        if not superseded(one, table, backends):
            continue
        if one.kind.startswith("Mutating"):
            concerns.add("pods")
        elif one.kind.startswith("Validating") and not one.name.endswith("quota-order"):
            concerns.add("guards")
        elif one.kind == "GeneratingPolicy":
            concerns.add("limits")
    return [
        f"{name}: auto means {getattr(backends, name)} now; it was applied with another backend before. Set {name} to "
        "keep one."
        for name in sorted(concerns.intersection(automatic))
    ]


def superseded(one: ObjectId, table: Table, backends: Backends) -> bool:
    """Say whether an object that is no longer wanted only belongs to a backend that another one has replaced."""
    order = f"{table.prefix}quota-order"
    native_guard = one.group == _ADMISSION and one.kind.startswith("ValidatingAdmissionPolicy")
    kyverno_guard = one.group_kind == (KYVERNO_GROUP, "ValidatingPolicy")
    if (native_guard or kyverno_guard) and one.name == order and backends.limits == "static":
        return True
    if one.group == _ADMISSION and one.kind.startswith("MutatingAdmissionPolicy"):
        return backends.pods == "kyverno"
    if native_guard:
        return backends.guards == "kyverno"
    if kyverno_guard:
        return backends.guards == "native"
    if one.group_kind == (KYVERNO_GROUP, "MutatingPolicy"):
        return backends.pods == "native"
    if one.group_kind == (KYVERNO_GROUP, "GeneratingPolicy"):
        return backends.limits == "static" and not one.name.startswith(f"{table.prefix}copy-")
    if one.kind == "ClusterRole":
        return backends.limits == "static" and one.name.endswith("-controller")
    return False


def check_doomed(
    doomed: Sequence[ObjectId], table: Table, backends: Backends, *, owned: int, max_percent: int, desired: int
) -> None:
    """Refuse to prune too much; what another backend replaces does not count.

    :raises Refused: with the rule ``prune-cap``.
    """
    check_prune(
        item="namespace tiers",
        doomed=[str(one) for one in doomed if not superseded(one, table, backends)],
        desired=desired,
        owned=owned,
        max_percent=max_percent,
    )


# -- stages --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Stages:
    """The changes of a plan in the order in which they are made.

    :ivar record: the record grows, before anything is made.
    :ivar handed: limits that pass to Kyverno; they stay in force all the time.
    :ivar applied: everything that adds or changes; afterwards it is waited for.
    :ivar last: the table that is kept, then what is deleted, and the record shrinks.
    """

    record: list[Change] = dataclasses.field(default_factory=list)
    handed: list[Change] = dataclasses.field(default_factory=list)
    applied: list[Change] = dataclasses.field(default_factory=list)
    last: list[Change] = dataclasses.field(default_factory=list)

    @property
    def all(self) -> list[Change]:
        return [*self.record, *self.handed, *self.applied, *self.last]


def stage(
    changes: Iterable[Change],
    *,
    classes: Mapping[str, Mapping[str, t.Any]],
    class_resource: Resource | None,
    handed: Sequence[Change] = (),
    left_open: Collection[ObjectId] = (),
) -> tuple[Stages, list[Change]]:
    """Sort the changes of a plan into stages.

    :param classes: live classes that are deleted right before they are made again.
    :param left_open: objects of a broken glass, which stay as they are.
    :return: the stages, and the record's change for the end (none, or one that carries a :class:`RecordStep`).
    """
    made = Stages(handed=list(handed))
    given = frozenset(change.payload.id for change in handed)
    closing: list[Change] = []
    for change in changes:
        step = change.payload
        if isinstance(step, RecordStep):
            made.record.append(dataclasses.replace(change, payload=RecordStep(step.add, frozenset())))
            closing = [dataclasses.replace(change, payload=step)]
        elif isinstance(step, DeleteStep):
            if step.id not in given:
                made.last.append(change)
        elif isinstance(step, ApplyStep) and is_table(step.wanted.id):
            made.last.insert(0, change)
        elif isinstance(step, ApplyStep) and step.wanted.id in left_open:
            continue
        elif isinstance(step, ApplyStep) and step.wanted.id.kind == "PriorityClass" and change.name in classes:
            made.applied += _again(change, classes[change.name], class_resource, step)
        else:
            made.applied.append(change)
    return made, closing


def _again(change: Change, live: Mapping[str, t.Any], resource: Resource | None, step: ApplyStep) -> list[Change]:
    old = {k: v for k, v in comparable(dict(live)).items() if k != "metadata"}
    delete = Change(
        kind="PriorityClass",
        name=change.name,
        action="delete",
        before=old,
        after=None,
        why="neither value nor preemption can change; it is made again at once",
        public=frozenset(old),
        payload=DeleteStep(
            step.wanted.id, resource or step.wanted.resource, str((live.get("metadata") or {}).get("uid") or "")
        ),
    )
    return [delete, dataclasses.replace(change, why="made again; pods that run keep their number")]


def with_removed(closing: Sequence[Change], more: Collection[ObjectId]) -> list[Change]:
    """Return the record's last change, which also takes *more* out; the rest of *more* goes with it."""
    made = []
    for change in closing:
        step = change.payload
        made.append(
            dataclasses.replace(
                change, payload=RecordStep(step.add, step.remove | frozenset(more), tuple(step.released))
            )
        )
    return made


def resolved_names(known: Iterable[Resolution]) -> dict[str, int]:
    """Return how many namespaces each namespace tier has; excluded ones under ``excluded``."""
    counted: dict[str, int] = {}
    for one in known:
        counted[one.tier or "excluded"] = counted.get(one.tier or "excluded", 0) + 1
    return dict(sorted(counted.items()))


def replaceable_owner(pod: Mapping[str, t.Any], kinds: Collection[str]) -> str:
    """Return ``Kind name`` of the controller that makes a pod again; empty if there is none of *kinds*."""
    for one in (pod.get("metadata") or {}).get("ownerReferences") or ():
        if one.get("controller") and one.get("kind") in kinds:
            return f"{one['kind']} {one.get('name')}"
    return ""
