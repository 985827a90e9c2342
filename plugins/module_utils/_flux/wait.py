# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Waits for Flux' objects by lists of their kinds, fails as soon as one has failed, and says why."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .._core.errors import HackspaceError, Refused, check
from .._kube import wait as kstatus
from .._kube.model import Discovery, Resource
from .._kube.normalise import Object
from .._kube.ports import ServerError
from . import hints, status
from .ports import Api, Clock
from .status import KINDS, Verdict

#: Seconds between two looks, at first and at most.
PAUSE: t.Final = (0.3, 3.0)
#: Events and inventory entries that are shown of one object.
SHOWN: t.Final = 10
_NAME: t.Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
#: Kinds whose objects are always ready, or are nobody's business here.
_QUIET: t.Final = frozenset({"ConfigMap", "Secret", "ServiceAccount", "Namespace"})

#: Reasons for not being ready that lie in something else.
_FOR_OTHERS: t.Final = frozenset({"ArtifactFailed", "SourceNotReady", "DependencyNotReady", "Revision"})
#: What an applier says whose source had nothing yet; ArtifactFailed is also the reason for a path that is not there.
_NO_ARTIFACT: t.Final = re.compile(
    r"Source artifact not found|Source is not ready|Source '.+' not found"
    r"|\.source\.[a-z]+\.fluxcd\.io \"[^\"]+\" not found"
)

_REFUSED: t.Final = re.compile(
    r'User "system:serviceaccount:(?P<home>[^:"]+):(?P<account>[^"]+)" cannot .{0,200}?'
    r'(?:in the namespace "(?P<where>[^"]+)"|at the cluster scope|$)'
)

Key = tuple[str, str, str]


@dataclasses.dataclass(frozen=True)
class Target:
    """What is waited for: one object, or all that a selector finds (at least one).

    :ivar item: as the user wrote it, for errors.
    """

    item: str
    kind: str
    namespace: str = ""
    name: str = ""
    labels: str = ""
    revision: str = ""
    token: str = ""

    @property
    def title(self) -> str:
        where = f"{self.namespace}/{self.name or '*'}" if self.namespace else self.name or "*"
        return f"{self.kind} {where}" + (f" ({self.labels})" if self.labels else "")

    def covers(self, live: Mapping[str, t.Any]) -> bool:
        """Say whether an object of the kind is meant; labels were the server's to look at."""
        metadata = live.get("metadata") or {}
        return (not self.namespace or metadata.get("namespace") == self.namespace) and (
            not self.name or metadata.get("name") == self.name
        )


def parse(raw: Sequence[Mapping[str, t.Any]], option: str = "objects") -> list[Target]:
    """Return the targets of the option ``objects``.

    :raises InvalidInput: for the first that cannot be meant.
    """
    check(
        raw,
        "is empty.",
        item=option,
        rule="no-objects",
        fix="name at least one object, or all of a kind by a selector.",
    )
    found: dict[tuple[str, ...], Target] = {}
    for number, one in enumerate(raw):
        item = f"{option}[{number}]"
        target = Target(
            item,
            str(one.get("kind") or ""),
            str(one.get("namespace") or ""),
            str(one.get("name") or ""),
            str(one.get("label_selector") or ""),
            str(one.get("revision") or ""),
            str(one.get("token") or ""),
        )
        for key in ("namespace", "name"):
            value = getattr(target, key)
            check(
                not value or _NAME.fullmatch(value),
                f"{value!r} is no name.",
                item=f"{item}.{key}",
                rule="flux-object-name",
                fix="give the name as Kubernetes has it.",
            )
        check(
            not target.name or target.namespace,
            f"{target.kind} {target.name} is in no namespace.",
            item=f"{item}.namespace",
            rule="flux-object-namespace",
            fix="name the namespace too; a name alone could be many objects.",
        )
        check(
            not (target.name and target.labels),
            "has a name and a label_selector.",
            item=item,
            rule="flux-object-selector",
            fix="give one of the two.",
        )
        role = KINDS[target.kind].role if target.kind in KINDS else "other"
        check(
            not target.revision or role != "other",
            f"a {target.kind} has no revision.",
            item=f"{item}.revision",
            rule="flux-object-revision",
            fix="leave revision out, or wait for the source or the Kustomization.",
        )
        first = found.setdefault((target.kind, target.namespace, target.name, target.labels), target)
        check(
            first is target,
            f"{target.title} is there twice.",
            item=item,
            rule="flux-object-twice",
            fix=f"leave it out; it is {first.item} as well.",
        )
    return list(found.values())


# -- reading -------------------------------------------------------------------------------------------------------


class Cluster:
    """Flux' objects of a cluster, read by lists."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._discovery: Discovery | None = None

    @property
    def discovery(self) -> Discovery:
        """The kinds the cluster serves, asked for once."""
        if self._discovery is None:
            self._discovery = self.api.discover()
        return self._discovery

    def resource(self, kind: str, item: str = "cluster") -> Resource:
        """Return how a kind of Flux is served.

        :raises HackspaceError: rule ``flux-kind-missing``, when it is not.
        """
        found = self.discovery.preferred(KINDS[kind].group, kind)
        if found is None:
            raise HackspaceError(
                f"the cluster has no {kind}.{KINDS[kind].group}.",
                item=item,
                rule="flux-kind-missing",
                fix="install Flux with the controller of that kind (flux_bootstrap), or correct kind.",
            )
        return found

    def served(self) -> list[str]:
        """Return the kinds of Flux that are served."""
        return [kind for kind, one in KINDS.items() if self.discovery.preferred(one.group, kind)]

    def listed(self, kind: str, namespace: str = "", *, name: str = "", labels: str = "") -> list[Object]:
        """Return objects of a kind by one list request (a page of 500 each)."""
        path = self.resource(kind).path(namespace)
        if name:
            _status, body = self.api.request("GET", path, query={"fieldSelector": f"metadata.name={name}"})
            items = list(body.get("items") or [])
        else:
            items = [one for page in self.api.pages(path, selector=labels) for one in page.items]
        return [{**one, "kind": kind} for one in items]


@dataclasses.dataclass(frozen=True)
class _List:
    """One list request."""

    kind: str
    namespace: str = ""
    name: str = ""
    labels: str = ""


def requests_for(targets: Iterable[Target]) -> dict[_List, list[Target]]:
    """Return which lists answer for which targets: one for each kind and selector, as narrow as all of them allow."""
    groups: dict[tuple[str, str], list[Target]] = {}
    for one in targets:
        groups.setdefault((one.kind, one.labels), []).append(one)
    found: dict[_List, list[Target]] = {}
    for (kind, labels), members in groups.items():
        spaces = {one.namespace for one in members}
        names = {one.name for one in members}
        namespace = spaces.pop() if len(spaces) == 1 else ""
        name = names.pop() if len(names) == 1 and namespace else ""
        found[_List(kind, namespace, name, labels)] = members
    return found


def key_of(live: Mapping[str, t.Any], kind: str) -> Key:
    """Return kind, namespace and name of an object."""
    metadata = live.get("metadata") or {}
    return kind, str(metadata.get("namespace") or ""), str(metadata.get("name") or "")


def title(key: Key) -> str:
    """Return a key as people write it."""
    return f"{key[0]} {key[1]}/{key[2]}"


# -- one look ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Item:
    """One object, or a target without any."""

    target: Target
    key: Key
    live: Object | None
    verdict: Verdict
    because: str = ""

    @property
    def name(self) -> str:
        return title(self.key) if self.live is not None or self.target.name else self.target.title


def look(cluster: Cluster, targets: Sequence[Target]) -> list[Item]:
    """Read all targets once and judge them."""
    found: list[Item] = []
    for request, members in requests_for(targets).items():
        objects = cluster.listed(request.kind, request.namespace, name=request.name, labels=request.labels)
        by_key = {key_of(one, request.kind): one for one in objects}
        for target in members:
            if target.name:
                named = by_key.get((target.kind, target.namespace, target.name))
                mine = [named] if named else []
            else:
                mine = [one for one in objects if target.covers(one)]
            for live in mine:
                said = status.verdict(live, target.kind, wanted=target.revision, token=target.token)
                found.append(Item(target, key_of(live, target.kind), live, said))
            if not mine:
                why = "does not exist" if target.name else "nothing is there that the selector finds"
                missing = Verdict("waiting", why, "NotFound")
                found.append(Item(target, (target.kind, target.namespace, target.name), None, missing))
    return _blamed(cluster, found)


def _blamed(cluster: Cluster, items: list[Item]) -> list[Item]:
    """Look at what objects that are not ready wait for; they fail with it, and wait while it is not settled."""
    known: dict[Key, Object | None] = {one.key: one.live for one in items}
    late = {one.key for one in items if one.live is not None and one.verdict.state in ("waiting", "failed")}
    while late:
        causes = {key for one in late for key in status.before(known[one] or {}, one[0])}
        unread = {key for key in causes if key not in known}
        for kind in sorted({key[0] for key in unread}):
            if cluster.discovery.preferred(KINDS[kind].group, kind) is None:
                continue
            spaces = {key[1] for key in unread if key[0] == kind}
            names = {key[2] for key in unread if key[0] == kind}
            space = spaces.pop() if len(spaces) == 1 else ""
            name = names.pop() if len(names) == 1 and space else ""
            for live in cluster.listed(kind, space, name=name):
                known.setdefault(key_of(live, kind), live)
        for key in unread:
            known.setdefault(key, None)
        # Those in turn wait for something, or are settled.
        late = {key for key in unread if known[key] is not None and status.verdict(known[key], key[0]).state != "ready"}
    blame(items, known.get)
    return items


def blame(items: Iterable[Item], get: t.Callable[[Key], Object | None]) -> None:
    """Judge objects that are not ready again, in the light of what they wait for."""
    for one in items:
        if one.live is not None and one.verdict.state in ("waiting", "failed"):
            one.verdict, one.because = _in_the_light(one.key, one.live, one.verdict, get, frozenset({one.key}))


def _in_the_light(
    key: Key, live: Object, said: Verdict, get: t.Callable[[Key], Object | None], seen: frozenset[Key]
) -> tuple[Verdict, str]:
    """Return an object's verdict in the light of what it waits for, and what is to blame (that, or what is behind)."""
    if said.reason not in _FOR_OTHERS or (said.state == "failed" and not _NO_ARTIFACT.search(said.why)):
        return said, ""
    for other in status.before(live, key[0]):
        if other in seen:
            continue
        found = get(other)
        if found is None:
            if said.state == "failed" or said.reason == "DependencyNotReady":
                return dataclasses.replace(said, state="failed"), f"{title(other)} does not exist"
            continue
        cause = status.verdict(found, other[0])
        behind = ""
        if cause.state in ("waiting", "failed"):
            cause, behind = _in_the_light(other, found, cause, get, seen | {other})
        if cause.state == "suspended":
            return dataclasses.replace(said, state="failed"), f"{title(other)} is suspended"
        if cause.state == "failed":
            return dataclasses.replace(said, state="failed"), behind or f"{title(other)}: {cause.why}"
    # What was missing or late when the last attempt was made is there now, or on its way.
    return dataclasses.replace(said, state="waiting"), ""


# -- the wait ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Rules:
    """How long, and what counts as failed.

    :ivar fail_fast: end as soon as one has failed, instead of waiting for all.
    :ivar grace: seconds for which a failed attempt is looked over, for what was mended a moment ago.
    """

    timeout: float = 300.0
    fail_fast: bool = True
    grace: float = 0.0


@dataclasses.dataclass
class Result:
    """What was there in the end."""

    items: list[Item]
    looks: int = 0
    seconds: float = 0.0

    def of(self, *states: status.State) -> list[Item]:
        return [one for one in self.items if one.verdict.state in states]

    @property
    def ready(self) -> bool:
        return all(one.verdict.state == "ready" for one in self.items)


def wait(cluster: Cluster, targets: Sequence[Target], rules: Rules, clock: Clock) -> Result:
    """Wait until all targets are ready, or one has failed, or time is up.

    :raises Refused: rule ``flux-suspended``, for objects that are suspended: they never get ready.
    """
    for one in targets:
        cluster.resource(one.kind, one.item)
    begin = clock.now()
    pause, most = PAUSE
    looks = 0
    while True:
        items = look(cluster, targets)
        looks += 1
        spent = clock.now() - begin
        refuse_suspended(items)
        result = Result(items, looks, spent)
        failed = bool(result.of("failed")) and spent >= rules.grace
        unsettled = [one for one in items if one.verdict.state == "waiting"]
        if result.ready or (failed and (rules.fail_fast or not unsettled)) or spent >= rules.timeout:
            return result
        clock.sleep(max(0.0, min(pause, rules.timeout - spent)))
        pause = min(pause * 1.5, most)


def refuse_suspended(items: Iterable[Item]) -> None:
    """Refuse to wait for what is suspended.

    :raises Refused: rule ``flux-suspended``.
    """
    found = sorted(one.name for one in items if one.verdict.state == "suspended")
    if found:
        raise Refused(
            f"{', '.join(found)} {'is' if len(found) == 1 else 'are'} suspended and will not get ready.",
            item=found[0],
            rule="flux-suspended",
            fix="resume it with flux_action action=resume, or leave it out.",
            data={"suspended": found},
        )


# -- why -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Entry:
    """One object of a Kustomization's inventory."""

    group: str
    version: str
    kind: str
    namespace: str
    name: str

    @property
    def title(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def inventory(live: Mapping[str, t.Any]) -> list[Entry]:
    """Return the inventory of a Kustomization: ``namespace_name_group_kind`` and a version."""
    found = []
    for one in ((live.get("status") or {}).get("inventory") or {}).get("entries") or ():
        parts = str(one.get("id") or "").split("_")
        if len(parts) == 4:
            # Names of access rules may hold colons, which are written as two underscores.
            found.append(Entry(parts[2], str(one.get("v") or ""), parts[3], parts[0], parts[1]))
        elif len(parts) > 4:
            name = "_".join(parts[1:-2]).replace("__", ":")
            found.append(Entry(parts[-2], str(one.get("v") or ""), parts[-1], parts[0], name))
    return found


@dataclasses.dataclass(frozen=True)
class Story:
    """Why an object is not ready."""

    failing: list[dict[str, str]]
    events: list[str]
    hint: hints.Found


def explain(cluster: Cluster, items: Sequence[Item]) -> dict[Key, Story]:
    """Return why objects are not ready: failing parts, events, a hint. Asks by lists, and only about these."""
    late = [one for one in items if one.live is not None and one.verdict.state != "ready"]
    parts = {one.key: _failing(cluster, one) for one in late}
    spaces = {one.key[1] for one in late} | {
        entry.namespace for found in parts.values() for entry, _why in found if entry.namespace
    }
    warnings = {space: _warnings(cluster.api, space) for space in sorted(spaces)}
    stories: dict[Key, Story] = {}
    for one in items:
        if one.verdict.state == "ready":
            continue
        mine = parts.get(one.key, [])
        events = [_line(event) for event in _about(warnings, one.key, mine)][-SHOWN:]
        kind, reason, said = one.key[0], one.verdict.reason, one.verdict.why
        found = hints.NOTHING
        if one.because:
            blamed = one.because.partition(" ")[0]
            found = hints.hint(blamed, "", one.because)
        found = found or hints.hint(kind, reason, said, [*(why for _entry, why in mine), *events])
        found = _refined(cluster.api, found, said)
        failing = [{"object": entry.title, "why": why} for entry, why in mine]
        stories[one.key] = Story(failing, events, found)
    return stories


def _refined(api: Api, found: hints.Found, said: str) -> hints.Found:
    """Say what is missing where the server only says forbidden: it does not tell an account that is not there from one
    without rights."""
    who = _REFUSED.search(said)
    if found.rule != "forbidden" or who is None:
        return found
    if not _exists(api, f"/api/v1/namespaces/{who['home']}/serviceaccounts/{who['account']}"):
        return hints.named("missing-account")
    if who["where"] and not _exists(api, f"/api/v1/namespaces/{who['where']}"):
        return hints.named("namespace", namespace=who["where"])
    return found


def _exists(api: Api, path: str) -> bool:
    try:
        return api.get(path) is not None
    except ServerError as error:
        if error.status != 403:
            raise
        return True  # nobody can say


def _failing(cluster: Cluster, one: Item) -> list[tuple[Entry, str]]:
    """Return the parts of an applier that are not ready, read by one list for each kind and namespace."""
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in inventory(one.live or {}):
        if entry.kind not in _QUIET and not entry.group.startswith("rbac."):
            groups.setdefault((entry.group, entry.kind, entry.namespace), []).append(entry)
    found: list[tuple[Entry, str]] = []
    for (group, kind, namespace), entries in groups.items():
        resource = cluster.discovery.preferred(group, kind)
        if resource is None:
            found += [(entry, "the cluster does not serve its kind any more") for entry in entries]
            continue
        try:
            path = resource.path(namespace)
            objects = {
                str((live.get("metadata") or {}).get("name")): live
                for page in cluster.api.pages(path)
                for live in page.items
            }
        except ServerError as error:
            if error.status not in (403, 404):
                raise
            continue  # the login may not see them; the object's own message has to do
        for entry in entries:
            said = kstatus.status(objects.get(entry.name), group, kind)
            if said.state != "ready":
                found.append((entry, said.why))
    return found[:SHOWN]


def _warnings(api: Api, namespace: str) -> list[Mapping[str, t.Any]]:
    """Return a namespace's warnings, oldest first; none if the login may not read them."""
    path = f"/api/v1/namespaces/{namespace}/events"
    try:
        _status, body = api.request("GET", path, query={"fieldSelector": "type=Warning", "limit": "500"})
    except ServerError as error:
        if error.status not in (403, 404):
            raise
        return []
    return sorted(body.get("items") or [], key=_when)


def _when(event: Mapping[str, t.Any]) -> str:
    metadata = event.get("metadata") or {}
    return str(event.get("lastTimestamp") or event.get("eventTime") or metadata.get("creationTimestamp") or "")


def _about(
    warnings: Mapping[str, Sequence[Mapping[str, t.Any]]], key: Key, parts: Sequence[tuple[Entry, str]]
) -> Iterator[Mapping[str, t.Any]]:
    """Yield the events about an object and its failing parts; names of ReplicaSets and pods begin like theirs."""
    wanted = [(entry.namespace, entry.name) for entry, _why in parts]
    for space, events in warnings.items():
        for event in events:
            involved = event.get("involvedObject") or {}
            name = str(involved.get("name") or "")
            itself = space == key[1] and name == key[2] and involved.get("kind") == key[0]
            part = any(space == one and (name == other or name.startswith(f"{other}-")) for one, other in wanted)
            if itself or part:
                yield event


def _line(event: Mapping[str, t.Any]) -> str:
    involved = event.get("involvedObject") or {}
    message = " ".join(str(event.get("message") or "").split())
    return f"{involved.get('kind')} {involved.get('name')}: {event.get('reason')}: {message}"[:600]


def shown(item: Item, story: Story | None) -> dict[str, t.Any]:
    """Return an object as modules report it."""
    kind, namespace, name = item.key
    live = item.live or {}
    return {
        "kind": kind,
        "namespace": namespace,
        "name": name,
        "state": item.verdict.state if item.live is not None else "absent",
        "reason": item.verdict.reason,
        "message": item.verdict.why,
        "because": item.because,
        "since": item.verdict.since,
        "revision": status.revision(live, kind) if live else "",
        "failing": story.failing if story else [],
        "events": story.events if story else [],
        "hint": story.hint.text if story else "",
        "hint_rule": story.hint.rule if story else "",
    }


def not_ready(result: Result, stories: Mapping[Key, Story], rules: Rules, data: Mapping[str, t.Any]) -> HackspaceError:
    """Return the error about what has failed, or was not ready in time."""
    failed = result.of("failed")
    late = failed or result.of("waiting")
    first = late[0]
    story = stories.get(first.key)
    more = f" and {len(late) - 1} more" if len(late) > 1 else ""
    why = (first.because or first.verdict.why).rstrip(".")
    if story and story.failing and not first.because:
        why += f"; {story.failing[0]['object']}: {story.failing[0]['why']}"
    done = "has failed" if failed else f"is not ready after {rules.timeout:.0f} s"
    return HackspaceError(
        f"{first.name}{more} {done}: {why}.",
        item=first.target.item,
        rule="flux-failed" if failed else "flux-timeout",
        fix=story.hint.text if story and story.hint else "read events and messages in the result.",
        data=data,
    )
