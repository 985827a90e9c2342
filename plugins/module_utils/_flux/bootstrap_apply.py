# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Bootstraps Flux: reads who owns it, judges, plans with the server's dry run, applies, proves that it is locked down.

Order: storage migrations, CustomResourceDefinitions and the namespace, everything else of Flux with the lockdown flags
in it already, credentials, then the Git source. Whenever a run is cut off, the next one finishes the work.
"""

from __future__ import annotations

import copy
import dataclasses
import time
import typing as t
from collections.abc import Mapping, Sequence

from .._core.errors import Refused
from .._core.plan import Plan
from .._kube import engine
from .._kube.model import ObjectId
from .._kube.normalise import Object
from .._kube.plan import DeleteStep, Options, Planned
from .._kube.ports import Api, ServerError, View, listed
from . import action, components, lockdown, migrate, ports, status, wait
from . import bootstrap_plan as planning
from .bootstrap_plan import Loss, Request
from .migrate import DEFINITIONS, Migration
from .model import SYNC
from .owner import Owner, check_owner, check_place, check_repoint, check_version, owner_of

_INSTANCES: t.Final = "/apis/fluxcd.controlplane.io/v1/fluxinstances"
_OURS: t.Final = f"{components.PART_OF}=flux"
_GROUPS: t.Final = (".toolkit.fluxcd.io", ".extensions.fluxcd.io")
_ATTEMPTS: t.Final = 5


@dataclasses.dataclass
class Prepared:
    """A plan, and what its reader needs besides.

    :ivar components: whether Flux itself is applied here, and not from Git.
    :ivar losses: objects that lose rights, as was accepted.
    """

    request: Request
    owner: Owner
    components: bool
    planned: Planned
    migrations: list[Migration]
    losses: list[Loss]
    plan: Plan
    stale: list[str]


class _View(View):
    """The cluster as the plan is to see it: definitions that are migrated first are not dry-run.

    The server would refuse them, as it does not know that nothing will be stored in an older version by then.
    """

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._migrated: dict[str, Object] = {}

    def migrated(self, definitions: Mapping[str, Object]) -> None:
        """From now on, answer dry runs of these without the server."""
        self._migrated = dict(definitions)

    def apply(self, path: str, body: Mapping[str, t.Any], *, dry_run: bool = False, force: bool = False) -> Object:
        live = self._migrated.get(path.removeprefix(f"{DEFINITIONS}/"))
        if not dry_run or live is None:
            return self._api.apply(path, body, dry_run=dry_run, force=force)
        metadata = {**live["metadata"], **body["metadata"]}
        return {**live, **copy.deepcopy(dict(body)), "metadata": metadata}


# -- read ----------------------------------------------------------------------------------------------------------


def deployments(api: Api, namespace: str) -> list[Object]:
    """Return the Deployments that may be of Flux: those of its namespace, and all that are marked as part of it."""
    path = "/apis/apps/v1/deployments"
    found = listed(api, path, selector=_OURS)
    seen = {_key(one) for one in found}
    here = listed(api, f"/apis/apps/v1/namespaces/{namespace}/deployments")
    return [{**one, "kind": "Deployment"} for one in (*found, *(one for one in here if _key(one) not in seen))]


def pods(api: Api, namespaces: t.Iterable[str]) -> list[Object]:
    """Return the pods in the namespaces in which Flux runs."""
    return [
        {**one, "kind": "Pod"}
        for space in sorted(set(namespaces))
        for one in listed(api, f"/api/v1/namespaces/{space}/pods")
    ]


def _key(one: Mapping[str, t.Any]) -> tuple[str, str]:
    return str(one["metadata"].get("namespace")), str(one["metadata"].get("name"))


def running(api: Api, namespace: str) -> list[Object]:
    """Return everything that may run a controller of Flux, as :func:`lockdown.judge` wants it."""
    found = deployments(api, namespace)
    return [*found, *pods(api, {namespace, *(_key(one)[0] for one in found)})]


def _flux_objects(api: Api) -> list[Object]:
    """Return Flux' objects of all namespaces that lockdown may take rights from."""
    known = planning.collections(api.discover())
    return [{**one, "kind": kind} for kind, path in known.items() for one in listed(api, path)]


def _instances(api: Api) -> list[Object]:
    found = api.get(_INSTANCES)
    return [dict(one) for one in (found or {}).get("items") or ()]


# -- plan ----------------------------------------------------------------------------------------------------------


def prepare(api: Api, request: Request) -> Prepared:
    """Read, judge and plan; nothing is written.

    :raises InvalidInput: for manifests and options that cannot be used.
    :raises Refused: for what needs an option that was not given.
    """
    view = _View(api)
    whole = [*request.component_sources(), *request.secret_sources(), *request.sync_sources()]
    wanted = _wanted(request, whole, Options())
    seen = engine.look(t.cast(Api, view), wanted)
    live = seen.current.live
    definitions = [one for one in _of(live, "CustomResourceDefinition") if _is_flux(one)]
    controllers = [one for one in deployments(api, request.rendering.namespace) if lockdown.container_of(one)]
    check_place(controllers, request.rendering.namespace)
    owner = owner_of(definitions, controllers, _instances(api), request.inventory)
    apply_components = check_owner(owner, self_managed=request.self_managed, adopt=request.adopt)
    sync_live = [*_of(live, "GitRepository"), *_of(live, "Kustomization")]
    warnings = check_repoint(
        sync_live, request.sync_objects(), allowed=request.allow_repoint, by_git=not apply_components
    )
    if not apply_components:
        return _prepare_credentials(api, request, owner, sync_live)
    check_version(owner, request.release.version)
    lost = _losses(api, request, owner, controllers)
    new = [one.body for one in whole if one.body["kind"] == "CustomResourceDefinition"]
    found = migrate.migrations(definitions, new)
    by_name = {str(one["metadata"]["name"]): one for one in definitions}
    view.migrated({one.name: by_name[one.name] for one in found})
    taken = request.adopt and owner.kind != "none" and not (owner.kind == "ours" and owner.whole)
    options = Options(
        adopt=request.adopt,
        prune=request.prune,
        prune_max_percent=request.prune_max_percent,
        force_conflicts=request.force_conflicts or taken,
    )
    planned = engine.plan_seen(t.cast(Api, view), _wanted(request, whole, options), seen)
    planning.check_kept(one.payload.id for one in planned.plan.changes if isinstance(one.payload, DeleteStep))
    plan = Plan(
        changes=[*(one.change() for one in found), *planned.plan.changes],
        unchanged=planned.plan.unchanged,
        foreign=planned.plan.foreign,
        warnings=[*(f"{one}: allowed by allow_repoint." for one in warnings), *_taken(owner, taken)],
    )
    plan.warnings += [f"{one.name} {one.why}." for one in lost]
    return Prepared(request, owner, True, planned, found, lost, plan, planned.stale)


def _taken(owner: Owner, taken: bool) -> list[str]:
    if taken and owner.kind == "helm":
        return [
            f"{owner.words} still exists: remove its record (the Secrets sh.helm.release.v1.*), never by helm "
            "uninstall, which would delete Flux."
        ]
    return []


def _wanted(request: Request, sources: Sequence[t.Any], options: Options) -> engine.Request:
    return engine.Request(sources, request.inventory, options)


def _of(live: Mapping[ObjectId, Object], kind: str) -> list[Object]:
    return [dict(one) for name, one in live.items() if name.kind == kind]


def _is_flux(definition: Mapping[str, t.Any]) -> bool:
    return str(definition["metadata"]["name"]).endswith(_GROUPS)


def _losses(api: Api, request: Request, owner: Owner, controllers: Sequence[Object]) -> list[Loss]:
    missing = planning.missing_flags(controllers) if owner.kind != "none" and controllers else frozenset()
    account = request.rendering.account
    before = planning.other_accounts(controllers, account) if owner.kind != "none" else {}
    if not missing and not before:
        return []
    space = request.rendering.namespace
    exempt = [f"Kustomization {space}/{SYNC}"] if request.sync else []
    objects = list(_flux_objects(api))
    opened = planning.losses(objects, missing, account=account, exempt=exempt)
    changed = planning.losses(objects, (), account=account, before=before, exempt=exempt)
    # What we locked down once is locked down again, whoever has relied on it being open meanwhile. Another account is
    # another matter: who acts as the former one has relied on what we said.
    again = frozenset(one.name for one in opened) if owner.kind == "ours" and owner.whole else frozenset()
    again -= {one.name for one in changed}
    return planning.check_losses(sorted({*opened, *changed}), request.accepted | again)


def _prepare_credentials(api: Api, request: Request, owner: Owner, sync_live: Sequence[Object]) -> Prepared:
    """Plan where Git holds Flux: only what does not lie in Git is written."""
    options = Options(adopt=request.adopt, force_conflicts=request.force_conflicts)
    planned = engine.make_plan(api, _wanted(request, request.secret_sources(), options))
    plan = planned.plan
    for one in sync_live:
        name = f"{one['kind']} {one['metadata']['namespace']}/{one['metadata']['name']}"
        if one["kind"] == "Kustomization" and not (one.get("spec") or {}).get("serviceAccountName"):
            plan.warnings.append(
                f"{name} names no ServiceAccount: set serviceAccountName: {lockdown.KUSTOMIZE} in Git, or it loses its "
                "rights by lockdown."
            )
    return Prepared(request, owner, False, planned, [], [], plan, [])


# -- apply ---------------------------------------------------------------------------------------------------------


def migrate_storage(api: Api, one: Migration) -> int:
    """Write every object of a definition once more, then cut down its stored versions; return how many there were."""
    number = 0
    for found in listed(api, one.collection):
        number += 1
        _rewrite(api, one, found)
    path = f"{DEFINITIONS}/{one.name}"
    for attempt in range(_ATTEMPTS):
        definition = api.get(path)
        if definition is None:
            break
        if (definition.get("status") or {}).get("storedVersions") == [one.storage]:
            return number
        definition["status"]["storedVersions"] = [one.storage]
        try:
            api.replace(f"{path}/status", definition)
            return number
        except ServerError as error:
            if error.status != 409 or attempt == _ATTEMPTS - 1:
                raise
    return number


def _rewrite(api: Api, one: Migration, found: Object) -> None:
    path = one.path(found)
    live: Object | None = found
    for attempt in range(_ATTEMPTS):
        if live is None:
            return
        try:
            api.replace(path, {"apiVersion": f"{one.group}/{one.storage}", **migrate.rewritten(live, one)})
            return
        except ServerError as error:
            if error.status == 404:
                return
            if error.status != 409 or attempt == _ATTEMPTS - 1:
                raise
        live = api.get(path)


@dataclasses.dataclass
class Done:
    """What was found out while applying.

    :ivar migrated: number of objects written again, by definition.
    """

    waited: list[str] = dataclasses.field(default_factory=list)
    migrated: dict[str, int] = dataclasses.field(default_factory=dict)
    lockdown: list[lockdown.Finding] = dataclasses.field(default_factory=list)
    revision: str = ""


def execute(api: ports.Api, made: Prepared, *, timeout: float, until: str) -> Done:
    """Carry out a plan, wait, and prove lockdown.

    :param until: ``none``, ``components`` or ``sync``.
    :raises HackspaceError: when something does not get ready in time.
    :raises Refused: rule ``flux-not-locked-down``.
    """
    deadline = time.monotonic() + timeout
    done = Done()
    for one in made.migrations:
        done.migrated[one.name] = migrate_storage(api, one)
    engine.execute(api, made.planned, timeout=timeout)
    if until != "none" and made.components:
        ready = [one for one in made.planned.wanted if one.id.group not in _custom(made)]
        left = max(1.0, deadline - time.monotonic())
        done.waited = engine.wait_ready(api, made.planned, ready, timeout=left)
    done.lockdown = prove(api, made.request, pods_too=until != "none", deadline=deadline)
    if done.lockdown:
        raise not_locked_down(done.lockdown, by_git=not made.components)
    if until == "sync" and made.request.sync:
        space = made.request.rendering.namespace
        done.revision = wait_sync(api, space, deadline=deadline, again=changes_credentials(made.plan))
    return done


def changes_credentials(plan: Plan) -> bool:
    """Say whether a plan changes a Kubernetes Secret: what is Ready was so with the one before."""
    return any(one.kind == "Secret" for one in plan.changes)


def _custom(made: Prepared) -> frozenset[str]:
    return frozenset(one.id.group for one in made.planned.wanted if one.id.group.endswith(_GROUPS))


def prove(api: Api, request: Request, *, pods_too: bool, deadline: float) -> list[lockdown.Finding]:
    """Return what runs and is not locked down; pods that are being replaced get the time that is left."""
    space, pause = request.rendering.namespace, 0.25
    while True:
        found = running(api, space) if pods_too else deployments(api, space)
        wrong = lockdown.judge(found, account=request.rendering.account)
        only_pods = all(one.item.startswith("Pod ") for one in wrong)
        if not wrong or not only_pods or time.monotonic() >= deadline:
            return wrong
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2.0, pause * 1.5)


def not_locked_down(found: Sequence[lockdown.Finding], *, by_git: bool) -> Refused:
    """Return the error that says what is not locked down."""
    shown = "; ".join(f"{one.item} {one.message}" for one in found[:6]) + ("; ..." if len(found) > 6 else "")
    return Refused(
        f"Flux is not locked down: {shown}",
        item="cluster",
        rule="flux-not-locked-down",
        fix=(
            "add the flags as patches to flux-system/kustomization.yaml in Git; docs/flux.md has them."
            if by_git
            else "run again; if it stays, something else changes the arguments of these Deployments."
        ),
        data={"lockdown": [one.as_dict() for one in found]},
    )


# -- wait for the first revision -----------------------------------------------------------------------------------


def wait_sync(api: ports.Api, namespace: str, *, deadline: float, again: bool = False) -> str:
    """Wait until the cluster has applied what the repository has; return the revision.

    Asks for an attempt where one is not ready: the last one may have been before the credentials were right. When that
    attempt fails, so does this, and says why.

    :param again: ask for an attempt in any case: the last one was with other credentials.
    :raises HackspaceError: rules ``flux-failed``, ``flux-timeout``.
    :raises Refused: rule ``flux-suspended``.
    """
    cluster = wait.Cluster(api)
    targets = [wait.Target("sync", kind, namespace, SYNC) for kind in ("GitRepository", "Kustomization")]
    while True:
        items = wait.look(cluster, targets)
        wait.refuse_suspended(items)
        wanted, applied = (status.revision(one.live or {}, one.target.kind) for one in items)
        if not again and wait.Result(items).ready and wanted == applied:
            return applied
        again = False
        left = wait.Rules(timeout=max(0.0, deadline - time.monotonic()))
        kick = action.Request("kick", targets[1:], scope="object", token=str(time.time_ns()))
        action.execute(cluster, action.prepare(cluster, kick), rules=left, clock=ports.RealClock())
