# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Breaks the glass and mends it: guards that only warn, an exception for Kyverno, webhooks that let pass.

What was there before is written on the object itself, so that whoever mends it later needs nothing else.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t
from collections.abc import Collection, Mapping, Sequence

from .._core.errors import HackspaceError, InvalidInput, Refused, check
from .._core.plan import Change, Plan
from .._kube.model import Discovery, Inventory, ObjectId, Resource
from .._kube.normalise import Object
from .._kube.ports import Api, ServerError, listed
from .apply_plan import ADMISSION_CONTROLLER, exceptions_ignored
from .parts import PART_OF

WHAT: t.Final = ("guards", "pods", "webhooks")
#: Longest time for which an exception may be asked for.
MOST_HOURS: t.Final = 168
NAME: t.Final = "namespace-tiers-break-glass"
_ADMISSION: t.Final = "admissionregistration.k8s.io"
_KYVERNO: t.Final = "policies.kyverno.io"
_WEBHOOKS: t.Final = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_MANAGED: t.Final = "webhook.kyverno.io/managed-by=kyverno"
_NAME_LABEL: t.Final = "kubernetes.io/metadata.name"
_DATE: t.Final = "%Y-%m-%dT%H:%M:%SZ"


def mark(domain: str) -> str:
    """Return the annotation (and label of exceptions) that says that the glass is broken here."""
    return f"{domain}/break-glass"


@dataclasses.dataclass(frozen=True)
class Opened:
    """One place where the glass is broken.

    :ivar id: the object that is not to be touched; ``None`` where nothing of ours is in the way.
    """

    what: str
    id: ObjectId | None
    since: str
    until: str
    reason: str

    @property
    def said(self) -> str:
        return f"{self.what} since {self.since}, until {self.until} ({self.reason})"

    def as_dict(self, now: datetime.datetime) -> dict[str, t.Any]:
        """Return plain data."""
        return {
            "what": self.what,
            "since": self.since,
            "until": self.until,
            "reason": self.reason,
            "overdue": bool(self.until) and self.until < shown(now),
        }


@dataclasses.dataclass(frozen=True)
class Request:
    """Everything a call wants.

    :ivar namespaces: where the glass is broken; everywhere if empty.
    """

    state: str
    what: tuple[str, ...]
    reason: str
    hours: int
    inventory: Inventory
    namespaces: tuple[str, ...] = ()
    exception_namespace: str = "kyverno"

    def checked(self) -> Request:
        """Return self, or raise :class:`InvalidInput`."""
        if self.state != "open":
            return self
        check(
            self.reason.strip(),
            "there is no reason.",
            item="reason",
            rule="break-glass-reason",
            fix="say in a few words why; everybody who looks will see it.",
        )
        check(
            0 < self.hours <= MOST_HOURS,
            f"{self.hours} hours are not between 1 and {MOST_HOURS}.",
            item="hours",
            rule="break-glass-hours",
            fix="break the glass for as long as the repair takes, and again if that was not enough.",
        )
        check(
            self.what,
            "nothing is to be opened.",
            item="what",
            rule="break-glass-what",
            fix=f"some of {', '.join(WHAT)}.",
        )
        if self.namespaces and "webhooks" in self.what:
            raise InvalidInput(
                "webhooks cannot be opened for some namespaces only.",
                item="namespaces",
                rule="break-glass-webhooks",
                fix="leave namespaces out, or webhooks out of what.",
            )
        return self


@dataclasses.dataclass(frozen=True)
class _Step:
    """One write: apply, replace or delete."""

    verb: str
    path: str
    body: Mapping[str, t.Any] = dataclasses.field(repr=False)


# -- what is open --------------------------------------------------------------------------------------------------


def shown(moment: datetime.datetime) -> str:
    """Return a moment as Kubernetes writes it."""
    return moment.astimezone(datetime.UTC).strftime(_DATE)


def _meta(one: Mapping[str, t.Any]) -> Mapping[str, t.Any]:
    return one.get("metadata") or {}


def _note(one: Mapping[str, t.Any], domain: str) -> dict[str, t.Any] | None:
    text = (_meta(one).get("annotations") or {}).get(mark(domain))
    if text is None:
        return None
    try:
        note = json.loads(text)
    except ValueError:
        note = None
    return note if isinstance(note, dict) else {"damaged": True}


def _opened(what: str, one: ObjectId | None, note: Mapping[str, t.Any]) -> Opened:
    said = {key: str(note.get(key) or "?") for key in ("since", "until", "reason")}
    return Opened(what, one, **said)


def opened(live: Mapping[ObjectId, Mapping[str, t.Any]], domain: str) -> list[Opened]:
    """Return which objects of ours were opened."""
    found = []
    for one in sorted(live):
        note = _note(live[one], domain)
        if note is not None:
            found.append(_opened(f"{one.kind} {one.title}", one, note))
    return found


def still_open(found: Sequence[Opened], *, closing: bool) -> list[Opened]:
    """Return what an application of the table leaves open; when it closes, what it has no hand in."""
    return [one for one in found if not closing or one.id is None]


def _all(api: Api, resource: Resource, selector: str) -> list[Object]:
    return [
        {**one, "apiVersion": resource.api_version, "kind": resource.kind}
        for one in listed(api, resource.path(), selector=selector)
    ]


def exceptions(api: Api, discovery: Discovery, domain: str) -> list[Opened]:
    """Return the exceptions of a broken glass."""
    resource = discovery.find(f"{_KYVERNO}/v1", "PolicyException")
    if resource is None:
        return []
    return [_exception(one) for one in _all(api, resource, f"{mark(domain)}=open")]


def _exception(one: Mapping[str, t.Any]) -> Opened:
    spec, meta = one.get("spec") or {}, _meta(one)
    return Opened(
        f"PolicyException {meta.get('namespace')}/{meta.get('name')}",
        None,
        str(meta.get("creationTimestamp") or "?"),
        str(spec.get("expiresAt") or "?"),
        str((spec.get("properties") or {}).get("reason") or "?"),
    )


def open_webhooks(api: Api, domain: str) -> tuple[list[Opened], list[dict[str, str]]]:
    """Return which of Kyverno's webhooks were opened, and the failure policy of all of them."""
    found, said = [], []
    for kind in _WEBHOOKS:
        for one in _all(api, _webhook_resource(kind), _MANAGED):
            note = _note(one, domain)
            name = str(_meta(one).get("name"))
            if note is not None:
                found.append(_opened(f"{kind} {name}", None, note))
            said += [
                {"configuration": name, "webhook": str(w.get("name")), "failure_policy": str(w.get("failurePolicy"))}
                for w in one.get("webhooks") or ()
            ]
    return found, said


def _webhook_resource(kind: str) -> Resource:
    return Resource(_ADMISSION, "v1", kind, f"{kind.lower()}s", namespaced=False)


# -- plan ----------------------------------------------------------------------------------------------------------


def _applied(one: Mapping[str, t.Any], inventory: Inventory, spec: t.Any, note: Mapping[str, t.Any]) -> Object:
    """Return what our field manager applies: its own part of an object, opened (with a note) or closed.

    While it is open, the hash of what was applied last is in the note only, so that an application that is told to
    close it sees a difference.
    """
    meta = _meta(one)
    mine = (inventory.label, f"{inventory.label_domain}/namespace-tier", "app.kubernetes.io/")
    had = meta.get("annotations") or {}
    annotations = {k: v for k, v in had.items() if k == inventory.prune}
    if "prior" in note:
        said = {**note, "applied": had.get(inventory.applied, "")}
        annotations[mark(inventory.label_domain)] = json.dumps(said, sort_keys=True)
    elif note.get("applied"):
        annotations[inventory.applied] = str(note["applied"])
    return {
        "apiVersion": one["apiVersion"],
        "kind": one["kind"],
        "metadata": {
            "name": meta["name"],
            "labels": {k: v for k, v in (meta.get("labels") or {}).items() if k.startswith(mine)},
            "annotations": annotations,
        },
        "spec": spec,
    }


def opened_spec(kind: str, spec: Mapping[str, t.Any], namespaces: Sequence[str]) -> Object:
    """Return the spec of a native binding that guards, or changes, nothing (or nothing in *namespaces*)."""
    made: Object = json.loads(json.dumps(spec))
    if not namespaces and kind == "ValidatingAdmissionPolicyBinding":
        made["validationActions"] = ["Audit", "Warn"]
        if "paramRef" in made:
            # A parameter that is missing is refused whatever the actions are.
            made["paramRef"]["parameterNotFoundAction"] = "Allow"
        return made
    match = made.setdefault("matchResources", {})
    selector = match.setdefault("namespaceSelector", {})
    demands = selector.setdefault("matchExpressions", [])
    if namespaces:
        demands.append({"key": _NAME_LABEL, "operator": "NotIn", "values": sorted(namespaces)})
    else:
        demands.append({"key": _NAME_LABEL, "operator": "DoesNotExist"})
    return made


def opened_webhooks(one: Mapping[str, t.Any]) -> tuple[Object, dict[str, str]]:
    """Return a webhook configuration in which nothing fails, and the failure policies that it had, by webhook."""
    made: Object = json.loads(json.dumps(one))
    prior = {}
    for webhook in made.get("webhooks") or ():
        if webhook.get("failurePolicy") != "Ignore":
            prior[str(webhook.get("name"))] = str(webhook.get("failurePolicy") or "Fail")
            webhook["failurePolicy"] = "Ignore"
    return made, prior


def closed_webhooks(one: Mapping[str, t.Any], prior: Mapping[str, str]) -> Object:
    """Return a webhook configuration with its failure policies as they were; webhooks that are new stay as they are."""
    made: Object = json.loads(json.dumps(one))
    for webhook in made.get("webhooks") or ():
        if webhook.get("name") in prior:
            webhook["failurePolicy"] = prior[webhook["name"]]
    return made


@dataclasses.dataclass
class Live:
    """What is there, by kind."""

    bindings: list[Object] = dataclasses.field(default_factory=list)
    policies: list[Object] = dataclasses.field(default_factory=list)
    exceptions: list[Object] = dataclasses.field(default_factory=list)
    webhooks: list[Object] = dataclasses.field(default_factory=list)


def read(api: Api, discovery: Discovery, request: Request) -> Live:
    """Read what may be opened or is: lists only."""
    found = Live()
    selector = request.inventory.selector
    for kind in ("ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding"):
        resource = discovery.find(f"{_ADMISSION}/v1", kind)
        if resource is not None:
            found.bindings += _all(api, resource, selector)
    for kind in ("ValidatingPolicy", "MutatingPolicy"):
        resource = discovery.find(f"{_KYVERNO}/v1", kind)
        if resource is not None:
            found.policies += _all(api, resource, selector)
    resource = discovery.find(f"{_KYVERNO}/v1", "PolicyException")
    if resource is not None:
        found.exceptions = _all(api, resource, f"{mark(request.inventory.label_domain)}=open")
    for kind in _WEBHOOKS:
        found.webhooks += _all(api, _webhook_resource(kind), _MANAGED)
    return found


def what_is_open(live: Live, domain: str) -> list[Opened]:
    """Return every place where the glass is broken."""
    found = []
    for one in (*live.bindings, *live.webhooks):
        note = _note(one, domain)
        if note is not None:
            found.append(_opened(f"{one['kind']} {_meta(one)['name']}", None, note))
    return found + [_exception(one) for one in live.exceptions]


def _change(action: t.Any, what: tuple[str, str], states: tuple[t.Any, t.Any], why: str, step: _Step) -> Change:
    before, after = states
    public = frozenset({*(before or {}), *(after or {})})
    return Change(what[0], what[1], action, before, after, why, public, payload=step)


def make_plan(live: Live, request: Request, discovery: Discovery, now: datetime.datetime) -> Plan:
    """Return what is to be written.

    :raises Refused: when nothing is there to be opened, or a note is damaged.
    """
    if request.state == "status":
        return Plan()
    plan = _open(live, request, discovery, now) if request.state == "open" else _close(live, request, discovery)
    if any(c.kind in _WEBHOOKS for c in plan.changes) and request.state == "open":
        plan.warnings.append("Kyverno puts its webhooks back as soon as it runs; they stay open only while it is down.")
    return plan


def _resource(discovery: Discovery, one: Mapping[str, t.Any]) -> Resource:
    return t.cast(Resource, discovery.find(str(one["apiVersion"]), str(one["kind"])))


def _open(live: Live, request: Request, discovery: Discovery, now: datetime.datetime) -> Plan:
    domain, plan = request.inventory.label_domain, Plan()
    until = shown(now + datetime.timedelta(hours=request.hours))
    said = {"since": shown(now), "until": until, "reason": request.reason.strip()}
    kinds = {"ValidatingAdmissionPolicyBinding": "guards", "MutatingAdmissionPolicyBinding": "pods"}
    there = 0
    if "webhooks" in request.what:
        # First, as one of them may be in the way of the exception.
        for one in live.webhooks:
            there += 1
            _open_webhooks(plan, one, said, domain)
    for one in live.bindings:
        if kinds[one["kind"]] not in request.what:
            continue
        there += 1
        name, had = str(_meta(one)["name"]), _note(one, domain)
        if had is not None:
            _stays(plan, _opened(f"{one['kind']} {name}", None, had), had.get("namespaces") or (), request)
            continue
        spec = opened_spec(one["kind"], one["spec"], request.namespaces)
        note = {**said, "prior": one["spec"], "namespaces": sorted(request.namespaces)}
        step = _Step("apply", _resource(discovery, one).path("", name), _applied(one, request.inventory, spec, note))
        plan.add(
            _change("update", (one["kind"], name), ({"spec": one["spec"]}, {"spec": spec}), "the glass is broken", step)
        )
    refs = [
        {"kind": one["kind"], "name": str(_meta(one)["name"])}
        for one in live.policies
        if {"ValidatingPolicy": "guards", "MutatingPolicy": "pods"}[one["kind"]] in request.what
    ]
    there += len(refs)
    if refs:
        exception = t.cast(Resource, discovery.find(f"{_KYVERNO}/v1", "PolicyException"))
        _open_exception(plan, live, refs, request, resource=exception, said=said)
    if not there:
        raise Refused(
            f"there is nothing of the inventory {request.inventory.name} that could be opened.",
            item="what",
            rule="break-glass-nothing",
            fix="name the inventory under which the namespace tiers were applied, and what is to be opened.",
        )
    return plan


def _stays(plan: Plan, one: Opened, namespaces: Collection[str], request: Request) -> None:
    """Leave open what is open already.

    :param namespaces: for which it is open; all if empty.
    :raises Refused: when it is not open for all that is asked for.
    """
    if namespaces and not (request.namespaces and set(request.namespaces) <= set(namespaces)):
        raise Refused(
            f"it is open already, for {', '.join(sorted(namespaces))} only.",
            item=one.what,
            rule="break-glass-scope",
            fix="close it (state: closed), then open it for all that is needed.",
        )
    plan.unchanged += 1
    plan.warnings.append(f"{one.said}: it is open already, and nothing about it changes.")


def _open_webhooks(plan: Plan, one: Object, said: Mapping[str, str], domain: str) -> None:
    made, prior = opened_webhooks(one)
    note = _note(one, domain)
    if not prior:
        plan.unchanged += 1
        return
    # A note does not mean that they are open: what has come since, or was put back, may fail.
    prior = {**((note or {}).get("prior") or {}), **prior}
    made["metadata"].setdefault("annotations", {})[mark(domain)] = json.dumps({**said, "prior": prior}, sort_keys=True)
    plan.add(_webhook_change(one, made, "the glass is broken"))


def _namespaces_of(spec: Mapping[str, t.Any]) -> list[str]:
    """Return the namespaces of an exception that we have made; none means all."""
    for one in spec.get("matchConditions") or ():
        try:
            return [str(name) for name in json.loads(str(one.get("expression")).partition(" in ")[2])]
        except ValueError:
            return ["?"]
    return []


def _open_exception(
    plan: Plan, live: Live, refs: list[dict[str, str]], request: Request, *, resource: Resource, said: Mapping[str, str]
) -> None:
    domain, namespace = request.inventory.label_domain, request.exception_namespace
    mine = ((one, _meta(one)) for one in live.exceptions)
    there = next((one for one, meta in mine if (meta.get("namespace"), meta.get("name")) == (namespace, NAME)), None)
    had: Mapping[str, t.Any] = (there or {}).get("spec") or {}
    spec: Object = {
        "policyRefs": refs,
        "expiresAt": said["until"],
        "properties": {"reason": said["reason"]},
    }
    if request.namespaces:
        names = ", ".join(json.dumps(one) for one in sorted(request.namespaces))
        spec["matchConditions"] = [{"name": "namespaces", "expression": f"request.namespace in [{names}]"}]
    if there is not None and str(had.get("expiresAt") or "") > said["since"]:
        had_refs = [dict(one) for one in had.get("policyRefs") or ()]
        more = [one for one in refs if one not in had_refs]
        _stays(plan, _exception(there), _namespaces_of(had), request)
        if not more:
            return
        plan.warnings.pop()
        plan.unchanged -= 1
        # What is open stays open.
        spec["policyRefs"] = had_refs + more
        spec.pop("matchConditions", None)
        if had.get("matchConditions"):
            spec["matchConditions"] = had["matchConditions"]
    body = {
        "apiVersion": f"{_KYVERNO}/v1",
        "kind": "PolicyException",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": {mark(domain): "open", "app.kubernetes.io/part-of": PART_OF},
        },
        "spec": spec,
    }
    step = _Step("apply", resource.path(namespace, NAME), body)
    before = {"spec": dict(had)} if there is not None else None
    what = ("PolicyException", f"{namespace}/{NAME}")
    plan.add(_change("update" if before else "create", what, (before, {"spec": spec}), "the glass is broken", step))


def _policies_of(one: Mapping[str, t.Any]) -> dict[str, str]:
    return {str(w.get("name")): str(w.get("failurePolicy")) for w in one.get("webhooks") or ()}


def _webhook_change(one: Mapping[str, t.Any], made: Object, why: str) -> Change:
    made["metadata"].pop("managedFields", None)
    name = str(_meta(one)["name"])
    step = _Step("replace", _webhook_resource(one["kind"]).path("", name), made)
    before, after = {"failurePolicy": _policies_of(one)}, {"failurePolicy": _policies_of(made)}
    return _change("update", (one["kind"], name), (before, after), why, step)


def _prior(one: Mapping[str, t.Any], note: Mapping[str, t.Any]) -> Mapping[str, t.Any]:
    prior = note.get("prior")
    if isinstance(prior, dict) and prior:
        return prior
    raise Refused(
        "its note about the state before is damaged.",
        item=f"{one['kind']} {_meta(one)['name']}",
        rule="break-glass-note",
        fix="run namespace_tiers with close_break_glass: true, which brings everything of the table back; for a "
        "webhook of Kyverno, take the annotation away and restart Kyverno.",
    )


def _close(live: Live, request: Request, discovery: Discovery) -> Plan:
    domain, plan = request.inventory.label_domain, Plan()
    why = "the glass is mended"
    for one in live.bindings:
        note = _note(one, domain)
        if note is None:
            plan.unchanged += 1
            continue
        spec, name = _prior(one, note), str(_meta(one)["name"])
        closing = {"applied": note.get("applied")}
        step = _Step("apply", _resource(discovery, one).path("", name), _applied(one, request.inventory, spec, closing))
        plan.add(_change("update", (one["kind"], name), ({"spec": one["spec"]}, {"spec": spec}), why, step))
    for one in live.webhooks:
        note = _note(one, domain)
        if note is None:
            continue
        made = closed_webhooks(one, _prior(one, note))
        del made["metadata"]["annotations"][mark(domain)]
        plan.add(_webhook_change(one, made, why))
    for one in live.exceptions:
        meta = _meta(one)
        name, namespace = str(meta["name"]), str(meta["namespace"])
        step = _Step("delete", _resource(discovery, one).path(namespace, name), {"uid": str(meta.get("uid") or "")})
        plan.add(
            _change("delete", ("PolicyException", f"{namespace}/{name}"), ({"spec": one.get("spec")}, None), why, step)
        )
    return plan


def unheeded(api: Api, plan: Plan, request: Request) -> list[str]:
    """Return warnings about an exception that Kyverno will not go by, as far as its Deployment tells."""
    if request.state != "open" or not any(change.kind == "PolicyException" for change in plan.changes):
        return []
    try:
        pages = api.pages("/apis/apps/v1/deployments", selector=ADMISSION_CONTROLLER)
        argument = exceptions_ignored([one for page in pages for one in page.items], request.exception_namespace)
    except ServerError as error:
        if error.status != 403:
            raise
        return []
    if not argument:
        return []
    return [
        f"Kyverno runs with {argument}: the PolicyException in {request.exception_namespace} does not count, and its "
        "policies go on as before."
    ]


# -- apply ---------------------------------------------------------------------------------------------------------


def dry_run(api: Api, changes: Collection[Change]) -> None:
    """Ask the server about everything that is applied, before anything is written.

    Not about an exception for which webhooks are opened first: they may be what refuses it.
    """
    opening = any(change.kind in _WEBHOOKS and change.payload.verb == "replace" for change in changes)
    for change in changes:
        if change.payload.verb == "apply" and not (opening and change.kind == "PolicyException"):
            _write(api, change, dry_run=True)


def execute(api: Api, changes: Collection[Change]) -> None:
    """Carry out a plan; what is cut off is done by the next run, as what is open already is left alone."""
    for change in changes:
        _write(api, change, dry_run=False)


def _write(api: Api, change: Change, *, dry_run: bool) -> None:
    step: _Step = change.payload
    try:
        if step.verb == "apply":
            api.apply(step.path, step.body, dry_run=dry_run)
        elif step.verb == "replace":
            api.replace(step.path, step.body)
        else:
            api.delete(step.path, uid=str(step.body["uid"]))
    except ServerError as error:
        if error.status == 403:
            raise
        raise HackspaceError(
            f"{error.said.rstrip('.')}.",
            item=f"{change.kind} {change.name}",
            rule="changed-meanwhile" if error.status == 409 else "http-status",
            fix="run again." if error.status == 409 else "look at what the server says.",
            status=error.status,
        ) from None
