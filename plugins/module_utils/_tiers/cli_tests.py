# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Tests for Kyverno's command line, made of the same table as the policies: ``kyverno test FOLDER``.

The policies are those that are applied; what must come of the samples is reckoned by ``expect``, which knows no CEL.
A user belongs to a whole test file, so there is one folder for each user.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence

from . import expect, limits, samples
from .model import UNTIERED, Table, Tier
from .parts import labels
from .policies import KYVERNO, NATIVE, Backends, render
from .resolve import OPTED
from .samples import Object, name_of

_API: t.Final = "cli.kyverno.io/v1alpha1"
_POLICIES: t.Final = "policies"
#: The command line of Kyverno 1.19 reads MutatingAdmissionPolicy in this version only, and gives it no variables.
_MUTATING: t.Final = "admissionregistration.k8s.io/v1alpha1"
_VARIABLE: t.Final = re.compile(r"\bvariables\.(\w+)")
#: Kind of a policy -> the key that tells the command line what it is.
_KEYS: t.Final[Mapping[str, str]] = {
    "MutatingPolicy": "isMutatingPolicy",
    "MutatingAdmissionPolicy": "isMutatingAdmissionPolicy",
    "ValidatingPolicy": "isValidatingPolicy",
    "ValidatingAdmissionPolicy": "isValidatingAdmissionPolicy",
    "GeneratingPolicy": "isGeneratingPolicy",
}
ALLOWED: t.Final = "pass"
REFUSED: t.Final = "fail"
#: The policy looked, and its conditions said no.
SKIP: t.Final = "skip"
#: The policy's selector says no: the command line prints this, and takes it for any result.
EXCLUDED: t.Final = "excluded"


@dataclasses.dataclass(frozen=True)
class Suite:
    """What is written to a folder.

    :ivar files: path -> documents.
    :ivar results: number of results that the command line prints.
    :ivar excluded: number of those with the reason Excluded, which pass whatever the policy does.
    :ivar not_covered: what the command line cannot try, for people.
    """

    files: Mapping[str, Sequence[Object]]
    results: int
    excluded: int
    not_covered: tuple[str, ...]


@dataclasses.dataclass(frozen=True, order=True)
class _Expected:
    """What several samples have in common.

    :ivar operation: empty for CREATE. :ivar compare: key under which an expected object is named, or nothing.
    :ivar key: says what the policy is.
    """

    policy: str
    verdict: str
    operation: str
    compare: str
    key: str
    kind: str


@dataclasses.dataclass
class _Folder:
    """One test file and what belongs to it."""

    name: str
    policies: str
    resources: list[Object] = dataclasses.field(default_factory=list)
    results: dict[_Expected, list[str]] = dataclasses.field(default_factory=dict)
    patched: list[Object] = dataclasses.field(default_factory=list)
    generated: list[Object] = dataclasses.field(default_factory=list)
    namespaces: dict[str, Object] = dataclasses.field(default_factory=dict)
    context: list[Object] = dataclasses.field(default_factory=list)
    user: Mapping[str, t.Any] | None = None
    native: bool = False

    def expects(self, policy: Object, verdict: str, one: Object, *, operation: str = "", compare: str = "") -> None:
        where = one["metadata"].get("namespace", "")
        name = f"{where}/{name_of(one)}" if where else name_of(one)
        key = _Expected(name_of(policy), verdict, operation, compare, _KEYS[policy["kind"]], one["kind"])
        self.results.setdefault(key, []).append(name)

    def files(self) -> Iterator[tuple[str, list[Object]]]:
        test: Object = {
            "apiVersion": _API,
            "kind": "Test",
            "metadata": {"name": self.name},
            "policies": [f"../{_POLICIES}/{self.policies}.yaml"],
            "resources": ["resources.yaml"],
        }
        yield f"{self.name}/resources.yaml", self.resources
        if self.namespaces:
            found = [self.namespaces[name] for name in sorted(self.namespaces)]
            test["variables"] = "values.yaml"
            values = {"apiVersion": _API, "kind": "Values", "metadata": {"name": "values"}, "namespaces": found}
            yield f"{self.name}/values.yaml", [values]
        if self.native:
            # Only with a cluster, though a pretended one, are selectors and annotations of namespaces looked at.
            spaces = [self.namespaces[name] for name in sorted(self.namespaces)]
            test["clusterResources"] = ["cluster.yaml"]
            cluster = {
                "apiVersion": _API,
                "kind": "ClusterResource",
                "metadata": {"name": "cluster"},
                "spec": {"resources": [*spaces, *self.context]},
            }
            yield f"{self.name}/cluster.yaml", [cluster]
        elif self.context:
            test["context"] = "context.yaml"
            context = {
                "apiVersion": _API,
                "kind": "Context",
                "metadata": {"name": "context"},
                "spec": {"resources": self.context},
            }
            yield f"{self.name}/context.yaml", [context]
        if self.user is not None:
            test["userinfo"] = "user.yaml"
            who = {"apiVersion": _API, "kind": "UserInfo", "metadata": {"name": "user"}, "userInfo": dict(self.user)}
            yield f"{self.name}/user.yaml", [who]
        if self.patched:
            yield f"{self.name}/patched.yaml", self.patched
        if self.generated:
            yield f"{self.name}/generated.yaml", self.generated
        test["results"] = [_result(key, self.results[key]) for key in sorted(self.results)]
        yield f"{self.name}/kyverno-test.yaml", [test]


def _result(one: _Expected, names: list[str]) -> Object:
    made: Object = {"policy": one.policy, "kind": one.kind, "resources": sorted(names), one.key: True}
    if one.operation:
        made["operation"] = one.operation
    if one.compare:
        made[one.compare] = "patched.yaml" if one.compare == "patchedResources" else "generated.yaml"
    made["result"] = SKIP if one.verdict == EXCLUDED else one.verdict
    return made


def suite(table: Table, backends: Backends, pod_spec: Mapping[str, t.Any] | None = None) -> Suite:
    """Return the tests of *table* for *backends*.

    :param pod_spec: what all sample pods have, so that they satisfy the further rules of the table.
    """
    policies = _Policies(render(table, backends).objects, table)
    folders: list[_Folder] = []
    folders += _pods(table, policies, pod_spec)
    folders += _labels(table, policies)
    folders += _limits(table, policies)
    folders += _order(table, policies)
    folders += _clones(table, policies)
    files: dict[str, Sequence[Object]] = {}
    for folder in folders:
        if folder.results:
            files.update(folder.files())
            files[f"{_POLICIES}/{folder.policies}.yaml"] = policies.of(folder.policies)
    counted = [(key.verdict, names) for folder in folders for key, names in folder.results.items()]
    return Suite(
        files={path: files[path] for path in sorted(files)},
        results=sum(len(names) for _verdict, names in counted),
        excluded=sum(len(names) for verdict, names in counted if verdict == EXCLUDED),
        not_covered=tuple(_not_covered(table, backends)),
    )


def of_pods(table: Table, backends: Backends, pairs: Sequence[tuple[Object, Object]]) -> dict[str, Sequence[Object]]:
    """Return the files of a test of other pods than the samples; each comes with its namespace."""
    policies = _Policies(render(table, backends).objects, table)
    folder = _pod_folder(table, policies, "pods", list(pairs))
    return {**dict(folder.files()), f"{_POLICIES}/pods.yaml": policies.of("pods")}


def of_namespaces(
    table: Table, backends: Backends, user: Mapping[str, t.Any], spaces: Sequence[Object]
) -> dict[str, Sequence[Object]]:
    """Return the files of a test of other namespaces than the samples, which somebody makes."""
    policies = _Policies(render(table, backends).objects, table)
    folder = _label_folder(table, policies, "labels", user, list(spaces))
    return {**dict(folder.files()), f"{_POLICIES}/labels.yaml": policies.of("labels")}


class _Policies:
    """The rendered policies by what they are about."""

    def __init__(self, objects: Iterable[Object], table: Table) -> None:
        names = {
            f"{table.prefix}pod-defaults": "pods",
            f"{table.prefix}priority-allowed": "pods",
            f"{table.prefix}label-guard": "labels",
            f"{table.prefix}quota-order": "order",
            **{f"{table.prefix}copy-{one.name}": "clones" for one in table.secrets if one.way == "kyverno"},
        }
        self._by: dict[str, list[Object]] = {}
        for one in objects:
            if one["apiVersion"] in (NATIVE, KYVERNO):
                self._by.setdefault(names.get(name_of(one), "limits"), []).append(_readable(one))

    def of(self, what: str) -> list[Object]:
        """Return policies and bindings."""
        return list(self._by.get(what, []))

    def one(self, what: str, *kinds: str) -> Object | None:
        """Return the policy of one of these kinds."""
        return next((one for one in self.of(what) if one["kind"] in kinds), None)


def _readable(one: Object) -> Object:
    """Return a policy as the command line can read it: a native mutation with its variables written out."""
    if one["kind"] not in ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"):
        return one
    spec = dict(one["spec"])
    known: dict[str, str] = {}

    def written_out(text: str) -> str:
        return _VARIABLE.sub(lambda match: f"({known[match.group(1)]})", text)

    for variable in spec.pop("variables", []):
        known[variable["name"]] = written_out(variable["expression"])
    if "mutations" in spec:
        spec["mutations"] = [
            {**patch, "jsonPatch": {"expression": written_out(patch["jsonPatch"]["expression"])}}
            for patch in spec["mutations"]
        ]
    return {**one, "apiVersion": _MUTATING, "spec": spec}


# -- pods ----------------------------------------------------------------------------------------------------------


def _pods(table: Table, policies: _Policies, base: Mapping[str, t.Any] | None) -> Iterator[_Folder]:
    for tier in table.compiled:
        home = samples.home(table, tier)
        if home is not None:
            pairs = [(home, one) for one in samples.every_pod(table, tier, name_of(home), base)]
            yield _pod_folder(table, policies, f"pods-{tier.name}", pairs)
    pairs = []
    both = [one for one in samples.opted_out(table) if name_of(one).endswith("own-both")]
    for space in (*samples.sources(table), *samples.held(table), *both):
        for named in ("", samples.FOREIGN):
            more = {"priorityClassName": named} if named else {}
            pairs.append((space, samples.pod(f"names-{named or 'none'}", name_of(space), base, **more)))
    yield _pod_folder(table, policies, "pods-by-namespace", pairs)
    updated = next((samples.home(table, tier) for tier in table.tiers if samples.home(table, tier)), None)
    if updated is not None and _is_kyverno(policies.of("pods")):
        folder = _Folder("pods-update", "pods", namespaces={name_of(updated): updated})
        one = samples.pod("names-none", name_of(updated), base)
        folder.resources.append(one)
        for policy in policies.of("pods"):
            folder.expects(policy, EXCLUDED, one, operation="UPDATE")
        yield folder


def _is_kyverno(policies: Iterable[Object]) -> bool:
    return all(one["apiVersion"] == KYVERNO for one in policies)


def _outside(table: Table, space: Object) -> str:
    """Return the verdict about an excluded namespace: by selector, or by condition."""
    if name_of(space) in table.exclusions:
        return EXCLUDED
    return SKIP


def _pod_folder(table: Table, policies: _Policies, name: str, pairs: list[tuple[Object, Object]]) -> _Folder:
    folder = _Folder(name, "pods", native=not _is_kyverno(policies.of("pods")))
    mutation = policies.one("pods", "MutatingPolicy", "MutatingAdmissionPolicy")
    guard = policies.one("pods", "ValidatingPolicy", "ValidatingAdmissionPolicy")
    for space, one in pairs:
        resolution = samples.resolution(table, space)
        folder.namespaces[name_of(space)] = space
        folder.resources.append(one)
        after = expect.pod(table, resolution, one) if mutation else one
        if mutation and not resolution.tier:
            verdict = _outside(table, space)
            # Of a native mutation whose selector says no, the command line has no result at all.
            if verdict == SKIP or mutation["apiVersion"] == KYVERNO:
                folder.expects(mutation, verdict, one)
        elif mutation:
            folder.expects(mutation, ALLOWED, one, compare="patchedResources")
            folder.patched.append(after)
        if guard and not resolution.tier:
            folder.expects(guard, _outside(table, space), one)
        elif guard:
            folder.expects(guard, ALLOWED if expect.class_allowed(table, resolution, after) else REFUSED, one)
    return folder


# -- labels --------------------------------------------------------------------------------------------------------

_TENANT: t.Final = {"username": "sample-tenant", "groups": ["sample-tenants", "system:authenticated"]}


def _users(table: Table) -> Iterator[tuple[str, Mapping[str, t.Any]]]:
    yield "tenant", _TENANT
    if table.guard.groups:
        groups = [sorted(table.guard.groups)[0], "system:authenticated"]
        yield "platform-group", {"username": "sample-administrator", "groups": groups}
    if table.guard.users:
        yield "platform-user", {"username": sorted(table.guard.users)[0], "groups": ["system:authenticated"]}


def _namespaces(table: Table) -> list[Object]:
    """Return namespaces that somebody tries to create."""
    free = next((tier for tier in table.tiers if tier.name in table.guard.self_service), None)
    ends = {table.tiers[0].name, UNTIERED, *table.guard.self_service}
    found = samples.sources(table)
    more = [*samples.held(table), *samples.opted_out(table)]
    found += [one for one in more if samples.resolution(table, one).tier in ends]
    if free is not None:
        found.append(samples.place(table, free, "free") or samples.namespace("sample-free"))
    unique = {name_of(one): one for one in found}
    return [unique[name] for name in sorted(unique)]


def _labels(table: Table, policies: _Policies) -> Iterator[_Folder]:
    for who, user in _users(table):
        yield _label_folder(table, policies, f"labels-{who}", user, _namespaces(table))
    if _is_kyverno(policies.of("labels")):
        yield _label_folder(table, policies, "labels-update", _TENANT, _namespaces(table), operation="UPDATE")


def _label_folder(
    table: Table,
    policies: _Policies,
    name: str,
    user: Mapping[str, t.Any],
    spaces: list[Object],
    *,
    operation: str = "",
) -> _Folder:
    guard = policies.one("labels", "ValidatingPolicy", "ValidatingAdmissionPolicy")
    if guard is None:
        raise AssertionError("the caller has seen to it")
    folder = _Folder(name, "labels", user=user, native=guard["apiVersion"] == NATIVE)
    platform = expect.is_platform(table, user["username"], user["groups"])
    for one in spaces:
        # On UPDATE, the command line takes the object for the one before as well: nothing changes.
        refused = expect.namespace_refused(table, one, one if operation == "UPDATE" else None, platform)
        verdict = REFUSED if refused else ALLOWED
        if not samples.resolution(table, one).tier:
            verdict = _outside(table, one)
        folder.resources.append(one)
        folder.expects(guard, verdict, one, operation=operation)
    return folder


# -- limits --------------------------------------------------------------------------------------------------------


def _limits(table: Table, policies: _Policies) -> Iterator[_Folder]:
    by_name = {name_of(one): one for one in policies.of("limits")}
    folder = _Folder("limits", "limits")
    spaces = {name_of(one): one for one in (*samples.sources(table), *samples.held(table), *samples.opted_out(table))}
    for name in sorted(spaces):
        space = spaces[name]
        resolution = samples.resolution(table, space)
        folder.resources.append(space)
        if not resolution.tier:
            continue
        for kind, called, spec in limits.wanted(table, resolution):
            policy = by_name.get(table.prefix + {"LimitRange": "limits", "ResourceQuota": "quota"}[kind])
            if policy is not None:
                folder.expects(policy, ALLOWED, space, compare="generatedResource")
                meta = {"name": called, "namespace": name, "labels": labels(table, resolution.tier, manager="")}
                folder.generated.append({"apiVersion": "v1", "kind": kind, "metadata": meta, "spec": spec})
    yield folder


# -- the order of LimitRange and ResourceQuota ---------------------------------------------------------------------


def _order(table: Table, policies: _Policies) -> Iterator[_Folder]:
    guard = policies.one("order", "ValidatingPolicy", "ValidatingAdmissionPolicy")
    tier = next((one for one in table.tiers if one.quota and one.limits), None)
    if guard is None or tier is None or tier.quota is None or tier.limits is None:
        return
    native = guard["apiVersion"] == NATIVE
    folder = _Folder("quota-order", "order", native=native)
    with_it, without = samples.place(table, tier, "ready"), samples.place(table, tier, "early")
    opted = samples.place(table, tier, "own-limits", {table.optout_limits: OPTED})
    hard = tier.quota.spec()

    def quota(space: Object, name: str) -> Object:
        where = name_of(space)
        return {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": name, "namespace": where},
            "spec": hard,
        }

    def add(space: Object | None, name: str, verdict: str) -> None:
        if space is not None:
            one = quota(space, name)
            folder.namespaces[name_of(space)] = space
            folder.resources.append(one)
            folder.expects(guard, verdict, one)

    add(with_it, table.quota, ALLOWED)
    if with_it is not None:
        folder.context.append(
            {
                "apiVersion": "v1",
                "kind": "LimitRange",
                "metadata": {"name": table.limit_range, "namespace": name_of(with_it)},
                "spec": tier.limits.spec(),
            }
        )
    if not native:
        # Natively, the parameter is missing; the command line stops there and prints Excluded.
        add(without, table.quota, REFUSED)
    add(without, f"{table.quota}-of-tenant", EXCLUDED if native else SKIP)
    add(opted, table.quota, EXCLUDED)
    yield folder


# -- clones --------------------------------------------------------------------------------------------------------


def _clones(table: Table, policies: _Policies) -> Iterator[_Folder]:
    by_name = {name_of(one): one for one in policies.of("clones")}
    folder = _Folder("clones", "clones")
    spaces: dict[str, Object] = {}
    for one in table.secrets:
        policy = by_name.get(f"{table.prefix}copy-{one.name}")
        if policy is None:
            continue
        made = {"apiVersion": "v1", "kind": "Secret", "type": one.type, "data": dict.fromkeys(one.properties, "e30=")}
        folder.context.append({**made, "metadata": {"name": one.name, "namespace": one.source_namespace}})
        for name in one.namespaces:
            space = spaces.setdefault(name, samples.namespace(name))
            if not table.excluded(name):
                folder.expects(policy, ALLOWED, space, compare="generatedResource")
                folder.generated.append({**made, "metadata": {"name": one.name, "namespace": name}})
    folder.resources += [spaces[name] for name in sorted(spaces)]
    yield folder


# -- what is left ---------------------------------------------------------------------------------------------------


def _not_covered(table: Table, backends: Backends) -> Iterator[str]:
    if backends.limits == "static":
        yield "limits are manifests: there is nothing to evaluate."
    else:
        yield (
            "that a namespace gets no limits (opt-outs, exclusions, another namespace tier): the command line has no "
            "result for a policy that generates nothing; nor does it try what Kyverno does later: synchronisation, "
            "namespaces that are there already, deletion."
        )
    yield "changes of labels and of the hold on UPDATE: the command line takes the new object for the old one as well."
    if backends.guards == "native":
        if backends.limits == "kyverno":
            yield "natively, a ResourceQuota before its LimitRange: without the parameter, the command line stops."
        yield "natively, the operation UPDATE: the command line always says CREATE."
    elif backends.pods == "native":
        yield "for native policies, the operation UPDATE: the command line always says CREATE."
    yield "what happens while Kyverno is down, and the order of several webhooks."
    if backends.pods == "native":
        yield (
            "native mutations as they are applied: the command line gives them no variables, so these are written out; "
            "and of namespaces that their selector leaves out it has no result."
        )
    unplaced = [tier.name for tier in table.compiled if samples.home(table, tier) is None]
    if unplaced:
        yield f"namespace tiers to which no namespace belongs: {', '.join(unplaced)}."
    ruled = [_said(tier) for tier in table.compiled if tier.rules]
    if ruled:
        yield f"further rules, as pods that break them ({'; '.join(ruled)}): only that the sample pods keep them."
    if any(one.way != "kyverno" for one in table.secrets):
        yield "credentials that External Secrets fetches: no policy does that."


def _said(tier: Tier) -> str:
    return f"{tier.name}: {', '.join(one.name for one in tier.rules)}"
