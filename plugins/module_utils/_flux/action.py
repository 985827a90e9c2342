# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Kicks, suspends and resumes objects of Flux, along with the Kustomization that applies them.

What Git says about an object comes back with its owner's next attempt, so that the owner is part of every action.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from .._core.errors import HackspaceError, Refused, check
from .._core.plan import Change, Plan
from .._kube.model import MANAGER
from .._kube.normalise import Object
from . import status, wait
from .ports import Clock
from .status import KINDS, REQUESTED_AT
from .wait import Cluster, Key, Rules, Target

Action = t.Literal["kick", "suspend", "resume"]
ACTIONS: t.Final = ("kick", "suspend", "resume")
Scope = t.Literal["owner", "object"]
SCOPES: t.Final = ("owner", "object")

#: Field manager of kicks. A Flux that applies itself takes the fields of all managers whose names begin with MANAGER
#: (--override-manager), and would take the request away before it has handled it.
KICKS: t.Final = f"kick-by-{MANAGER}"
#: That of suspensions, for the same reason: such a Flux would resume at once what Git does not suspend.
SUSPENSIONS: t.Final = f"suspend-by-{MANAGER}"
_FORCE_AT: t.Final = "reconcile.fluxcd.io/forceAt"
_RESET_AT: t.Final = "reconcile.fluxcd.io/resetAt"
_CONTROLLERS: t.Final = frozenset({"kustomize-controller", "helm-controller"})
_PUBLIC: t.Final = frozenset({"suspend", REQUESTED_AT, _FORCE_AT, _RESET_AT})


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be done.

    :ivar scope: with the owning Kustomization, or with the object alone.
    :ivar token: of a kick; another one each time.
    """

    action: Action
    targets: Sequence[Target]
    scope: Scope = "owner"
    force: bool = False
    reset: bool = False
    token: str = ""

    def checked(self) -> Request:
        """Return self, or raise InvalidInput."""
        for one in self.targets:
            kind = KINDS[one.kind]
            check(
                self.action == "kick" or kind.suspends,
                f"a {one.kind} cannot be suspended.",
                item=one.item,
                rule="flux-no-suspend",
                fix="suspend what makes it.",
            )
            check(
                self.action != "kick" or kind.reports,
                f"a {one.kind} has nothing to reconcile.",
                item=one.item,
                rule="flux-no-kick",
                fix="leave it out.",
            )
        releases = any(one.kind == "HelmRelease" for one in self.targets)
        for name, given in (("force", self.force), ("reset", self.reset)):
            check(
                not given or (self.action == "kick" and releases),
                "is only for kicks of HelmReleases.",
                item=name,
                rule="flux-release-option",
                fix="leave it out, or name a HelmRelease.",
            )
        return self


@dataclasses.dataclass(frozen=True)
class Step:
    """One object that is written to.

    :ivar why: whose sake it is for; empty for the object itself.
    """

    key: Key
    live: Object
    why: str = ""

    @property
    def name(self) -> str:
        return wait.title(self.key)


@dataclasses.dataclass
class Prepared:
    """A plan: groups of steps, each done (and for kicks waited for) before the next."""

    request: Request
    plan: Plan
    stages: list[list[Step]]
    meant: list[Key]


# -- reading -------------------------------------------------------------------------------------------------------


class _Known:
    """Objects read so far; asks by one list for each kind and namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._found: dict[Key, Object] = {}

    def add(self, objects: Mapping[Key, Object]) -> None:
        self._found.update(objects)

    def fetch(self, keys: Iterable[Key]) -> None:
        """Read those that are not known yet."""
        missing = sorted({key for key in keys if key not in self._found})
        for kind in sorted({key[0] for key in missing}):
            if self._cluster.discovery.preferred(KINDS[kind].group, kind) is None:
                continue
            spaces = sorted({key[1] for key in missing if key[0] == kind})
            names = {key[2] for key in missing if key[0] == kind}
            # Several namespaces are read at once.
            space = spaces[0] if len(spaces) == 1 else ""
            name = names.pop() if len(names) == 1 and space else ""
            for live in self._cluster.listed(kind, space, name=name):
                self._found.setdefault(wait.key_of(live, kind), live)

    def get(self, key: Key) -> Object | None:
        return self._found.get(key)


def _meant(cluster: Cluster, targets: Sequence[Target]) -> dict[Key, Object]:
    """Return the objects that are meant.

    :raises HackspaceError: rules ``flux-kind-missing``, ``flux-absent``.
    """
    for one in targets:
        cluster.resource(one.kind, one.item)
    found: dict[Key, Object] = {}
    for request, members in wait.requests_for(targets).items():
        objects = cluster.listed(request.kind, request.namespace, name=request.name, labels=request.labels)
        for target in members:
            mine = [one for one in objects if target.covers(one)]
            if not mine:
                raise HackspaceError(
                    f"{target.title} does not exist."
                    if target.name
                    else f"there is nothing that {target.title} could mean.",
                    item=target.item,
                    rule="flux-absent",
                    fix="correct kind, namespace and name, or the label_selector.",
                )
            for live in mine:
                found[wait.key_of(live, target.kind)] = live
    return found


def prepare(cluster: Cluster, request: Request) -> Prepared:
    """Read and plan; nothing is written.

    :raises Refused: rules ``flux-suspended``, ``flux-suspended-in-git``.
    """
    meant = _meant(cluster, request.checked().targets)
    known = _Known(cluster)
    known.add(meant)
    owners = _owners(known, meant, request)
    sources: dict[Key, list[Key]] = {}
    if request.action != "suspend":
        wanted = {key: status.source_of(live, key[0]) for key, live in {**owners, **meant}.items()}
        known.fetch(source for source in wanted.values() if source)
        sources = {key: [source] for key, source in wanted.items() if source and known.get(source)}
    match request.action:
        case "kick":
            return plan_kick(request, meant, owners, sources, known.get)
        case "suspend":
            return plan_suspend(request, meant, owners)
    return plan_resume(request, meant, owners, sources, known.get)


def _owners(known: _Known, meant: Mapping[Key, Object], request: Request) -> dict[Key, Object]:
    """Return the Kustomizations that apply what is meant, and theirs as far as Git says how they are suspended."""
    found: dict[Key, Object] = {}
    if request.scope == "object":
        return found
    level = {key: ("Kustomization", *owner) for key, live in meant.items() if (owner := status.owner(live))}
    while level:
        known.fetch(level.values())
        above: dict[Key, Key] = {}
        for key in set(level.values()):
            live = known.get(key)
            if live is None or key in found or key in meant:
                continue
            found[key] = live
            next_ = status.owner(live)
            if next_ and in_git(live):
                above[key] = ("Kustomization", *next_)
        level = above
    return found


def in_git(live: Mapping[str, t.Any]) -> bool:
    """Say whether Git decides if an object is suspended: Flux holds the field, and writes it with each attempt."""
    for one in (live.get("metadata") or {}).get("managedFields") or ():
        if one.get("manager") in _CONTROLLERS and one.get("operation") == "Apply" and not one.get("subresource"):
            fields = (one.get("fieldsV1") or {}).get("f:spec") or {}
            if "f:suspend" in fields:
                return True
    return False


# -- planning ------------------------------------------------------------------------------------------------------


def _suspension(step: Step, value: bool) -> Change:
    now = status.suspended(step.live)
    return Change(step.key[0], _title(step.key), "update", {"suspend": now}, {"suspend": value}, step.why, _PUBLIC)


def _title(key: Key) -> str:
    return f"{key[1]}/{key[2]}"


def _for(key: Key, meant: Mapping[Key, Object]) -> str:
    mine = [other for other, live in meant.items() if ("Kustomization", *(status.owner(live) or ())) == key]
    if not mine:
        return "applies an owner"
    more = f" and {len(mine) - 1} more" if len(mine) > 1 else ""
    return f"applies {wait.title(mine[0])}{more}"


def plan_suspend(request: Request, meant: Mapping[Key, Object], owners: Mapping[Key, Object]) -> Prepared:
    """Owners first, so that nobody puts the rest back in between."""
    upper = [Step(key, live, _for(key, meant)) for key, live in reversed(list(owners.items()))]
    plan, stages = Plan(), []
    for group in (upper, [Step(key, live) for key, live in meant.items()]):
        todo = [step for step in group if not status.suspended(step.live)]
        plan.unchanged += len(group) - len(todo)
        for step in todo:
            plan.add(_suspension(step, True))
        stages.append(todo)
    if request.scope == "object":
        plan.warnings += [
            f"{wait.title(key)} is applied by Kustomization {'/'.join(owner)}, and Git says that it is not suspended:"
            " the next attempt of that one resumes it."
            for key, live in meant.items()
            if (owner := status.owner(live)) and in_git(live) and not status.suspended(live)
        ]
    return Prepared(request, plan, stages, list(meant))


def plan_resume(
    request: Request,
    meant: Mapping[Key, Object],
    owners: Mapping[Key, Object],
    sources: Mapping[Key, Sequence[Key]],
    get: t.Callable[[Key], Object | None],
) -> Prepared:
    """Sources first, then objects, then owners.

    :raises Refused: rule ``flux-suspended-in-git``.
    """
    doomed = [key for key, live in meant.items() if status.suspended(live) and in_git(live) and status.owner(live)]
    if doomed:
        raise Refused(
            f"Git says that {wait.title(doomed[0])} is suspended, so that its owner would suspend it again.",
            item=wait.title(doomed[0]),
            rule="flux-suspended-in-git",
            fix="take spec.suspend out of the repository.",
        )
    content: dict[Key, Step] = {}
    for key in meant:
        for source in sources.get(key, ()):
            live = get(source)
            if live is not None and source not in meant:
                content.setdefault(source, Step(source, live, f"is the source of {wait.title(key)}"))
    groups = [
        list(content.values()),
        [Step(key, live) for key, live in meant.items() if KINDS[key[0]].role == "source"],
        [Step(key, live) for key, live in meant.items() if KINDS[key[0]].role != "source"],
        [Step(key, live, _for(key, meant)) for key, live in owners.items()],
    ]
    plan, stages = Plan(), []
    for group in groups:
        todo = [step for step in group if status.suspended(step.live)]
        plan.unchanged += len(group) - len(todo)
        for step in todo:
            plan.add(_suspension(step, False))
        stages.append(todo)
    return Prepared(request, plan, stages, list(meant))


def plan_kick(
    request: Request,
    meant: Mapping[Key, Object],
    owners: Mapping[Key, Object],
    sources: Mapping[Key, Sequence[Key]],
    get: t.Callable[[Key], Object | None],
) -> Prepared:
    """The owners' sources, owners, sources, objects: each when what it needs is done.

    :raises Refused: rule ``flux-suspended``.
    """
    asleep = sorted(wait.title(key) for key, live in meant.items() if status.suspended(live))
    if asleep:
        raise Refused(
            f"{', '.join(asleep)} {'is' if len(asleep) == 1 else 'are'} suspended: a kick does nothing.",
            item=asleep[0],
            rule="flux-suspended",
            fix="resume it first, with action: resume.",
        )
    plan = Plan()
    taken: set[Key] = set()

    def group(steps: Iterable[Step]) -> list[Step]:
        found = []
        for step in steps:
            if step.key in taken or not _kicked(step.key, step.live):
                continue
            taken.add(step.key)
            if step.why and status.suspended(step.live):
                plan.warnings.append(f"{step.name} ({step.why}) is suspended and is left alone.")
                continue
            found.append(step)
        return found

    def content(keys: Iterable[Key]) -> Iterable[Step]:
        for key in keys:
            for source in sources.get(key, ()):
                live = get(source)
                if live is not None:
                    yield Step(source, live, f"is the source of {wait.title(key)}")

    above = list(reversed(list(owners.items())))
    stages = [
        group(content(key for key, _live in above)),
        *([one] for key, live in above for one in group([Step(key, live, _for(key, meant))])),
        group(content(meant)),
        group(Step(key, live) for key, live in meant.items() if KINDS[key[0]].role == "source"),
        group(Step(key, live) for key, live in meant.items() if KINDS[key[0]].role != "source"),
    ]
    for stage in stages:
        for step in stage:
            wanted = marks(request, step.key[0], own=step.key in meant)
            present = (step.live.get("metadata") or {}).get("annotations") or {}
            before = {name: present.get(name) for name in wanted}
            plan.add(Change(step.key[0], _title(step.key), "send", before, wanted, step.why or "kick", _PUBLIC))
    return Prepared(request, plan, stages, list(meant))


def _kicked(key: Key, live: Mapping[str, t.Any]) -> bool:
    """Say whether a kind handles reconcile requests by itself."""
    return not status.is_static(live, key[0]) and key[0] != "ExternalArtifact"


def marks(request: Request, kind: str, *, own: bool) -> dict[str, str]:
    """Return the annotations of a kick."""
    found = {REQUESTED_AT: request.token}
    if kind == "HelmRelease" and own:
        found |= {_FORCE_AT: request.token} if request.force else {}
        found |= {_RESET_AT: request.token} if request.reset else {}
    return found


# -- doing ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Outcome:
    """What happened: the objects after the wait, and those that are not ready."""

    result: wait.Result | None = None
    stories: Mapping[Key, wait.Story] = dataclasses.field(default_factory=dict)


def execute(cluster: Cluster, made: Prepared, *, rules: Rules | None, clock: Clock) -> Outcome:
    """Write, stage by stage; with *rules*, wait for each stage of a kick and for what was resumed.

    :raises HackspaceError: when something was refused, or is not ready in time.
    """
    request = made.request
    end = clock.now() + (rules.timeout if rules else 0.0)
    last = Outcome()
    for stage in made.stages:
        for step in stage:
            _write(cluster, request, step, own=step.key in made.meant)
        if request.action == "kick" and rules and stage:
            token = request.token
            last = _until(cluster, [_target(step.key, token) for step in stage], rules, end, clock)
    if request.action == "resume" and rules and made.plan.changed:
        done = [step.key for stage in made.stages for step in stage]
        last = _until(cluster, [_target(key, "") for key in done], rules, end, clock)
    return last


def _target(key: Key, token: str) -> Target:
    # A source that is static, or handles no requests, is ready or not.
    return Target("objects", key[0], key[1], key[2], token=token)


def _until(cluster: Cluster, targets: Sequence[Target], rules: Rules, end: float, clock: Clock) -> Outcome:
    left = dataclasses.replace(rules, timeout=max(0.0, end - clock.now()))
    result = wait.wait(cluster, targets, left, clock)
    if result.ready:
        return Outcome(result)
    stories = wait.explain(cluster, result.items)
    shown = [wait.shown(one, stories.get(one.key)) for one in result.items]
    raise wait.not_ready(result, stories, rules, {"objects": shown})


def _write(cluster: Cluster, request: Request, step: Step, *, own: bool) -> None:
    kind, namespace, name = step.key
    path = cluster.resource(kind).path(namespace, name)
    body: dict[str, t.Any]
    if request.action == "kick":
        body = {"metadata": {"annotations": marks(request, kind, own=own)}}
    else:
        # Taken out, not set to false: Flux would see no difference to a 'suspend: false' in Git, and would not hold the
        # field, by which in_git() knows.
        body = {"spec": {"suspend": True if request.action == "suspend" else None}}
    code, _body = cluster.api.request(
        "PATCH",
        path,
        query={"fieldManager": KICKS if request.action == "kick" else SUSPENSIONS},
        body=body,
        content_type="application/merge-patch+json",
        ok=(200, 404),
    )
    if code == 404:
        raise HackspaceError(
            "was deleted in the meantime.", item=step.name, rule="flux-absent", fix="run again without it."
        )


def side_effects(made: Prepared) -> dict[Key, int]:
    """Return how many other objects of Flux each owner that is suspended applies: their changes in Git wait as well."""
    doomed = [step.key for stage in made.stages for step in stage if step.key not in made.meant]
    if made.request.action != "suspend" or not doomed:
        return {}
    found: dict[Key, int] = {}
    for key in doomed:
        entries = wait.inventory(next(s.live for stage in made.stages for s in stage if s.key == key))
        mine = {(one.kind, one.namespace, one.name) for one in entries}
        found[key] = len(mine - set(made.meant))
    return found
