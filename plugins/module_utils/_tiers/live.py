# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""Which live objects the impact report looks at, what it needs of each, and how it gets them: a list for each kind."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from collections.abc import Collection, Iterable, Mapping

from .._core.errors import HackspaceError
from .._kube.ports import Api, ServerError
from .apply_plan import TABLE_KEY, TABLE_NAME
from .impact import KINDS

Object = dict[str, t.Any]

#: Kind -> path of its list. Kubernetes Secrets are not among them.
PATHS: t.Final[Mapping[str, str]] = {
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "PriorityClass": "/apis/scheduling.k8s.io/v1/priorityclasses",
    "LimitRange": "/api/v1/limitranges",
    "ResourceQuota": "/api/v1/resourcequotas",
    "Pod": "/api/v1/pods",
    "Deployment": "/apis/apps/v1/deployments",
    "StatefulSet": "/apis/apps/v1/statefulsets",
    "DaemonSet": "/apis/apps/v1/daemonsets",
    "Job": "/apis/batch/v1/jobs",
    "CronJob": "/apis/batch/v1/cronjobs",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/horizontalpodautoscalers",
}
#: Policies, for what is wrong with them; no namespace is judged by them.
POLICIES: t.Final[Mapping[str, str]] = {
    "MutatingPolicy": "/apis/policies.kyverno.io/v1/mutatingpolicies",
    "GeneratingPolicy": "/apis/policies.kyverno.io/v1/generatingpolicies",
    "ValidatingPolicy": "/apis/policies.kyverno.io/v1/validatingpolicies",
    "ClusterPolicy": "/apis/kyverno.io/v1/clusterpolicies",
    "MutatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
}
_VERSIONS: t.Final = {
    kind: path.removeprefix("/apis/").removeprefix("/api/").rpartition("/")[0]
    for kind, path in {**PATHS, **POLICIES}.items()
}


@dataclasses.dataclass
class Seen:
    """What was read.

    :ivar asked: kinds of which it is known that all were read. :ivar refused: kind -> why it was not.
    """

    objects: list[Object] = dataclasses.field(default_factory=list)
    policies: list[Object] = dataclasses.field(default_factory=list)
    asked: set[str] = dataclasses.field(default_factory=set)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, one: Mapping[str, t.Any]) -> None:
        """Put one object that was trimmed in its place; an empty list only says that its kind was read."""
        kind = str(one.get("kind", ""))
        name = kind.removesuffix("List")
        if name not in _VERSIONS:
            return
        self.asked.add(name)
        if kind == name:
            (self.policies if name in POLICIES else self.objects).append(dict(one))

    def unseen(self, absent: Collection[str] = ()) -> list[str]:
        """Return the kinds that namespaces are judged by and that were not read.

        :param absent: kinds of which somebody says that there are none.
        """
        return sorted(set(KINDS) - self.asked - set(absent))

    @property
    def without_managers(self) -> bool:
        """Return whether there are limits, and nothing says who wrote their fields."""
        limits = [one for one in self.objects if one["kind"] in ("LimitRange", "ResourceQuota")]
        return bool(limits) and not any(one["metadata"].get("managedFields") for one in limits)


def read(api: Api) -> Seen:
    """Read a cluster: one list for each kind, page by page. What is not there or not allowed is remembered."""
    seen = Seen()
    for kind, path in {**PATHS, **POLICIES}.items():
        try:
            for page in api.pages(path):
                for item in page.items:
                    kept = trimmed({**item, "kind": kind, "apiVersion": _VERSIONS[kind]})
                    if kept is not None:
                        seen.add(kept)
        except ServerError as error:
            if error.status == 404:
                # A kind that is not served has no objects.
                seen.asked.add(kind)
                seen.refused[kind] = "not installed"
                continue
            if error.status == 403:
                seen.refused[kind] = "not allowed"
                continue
            if error.status == 410:
                raise HackspaceError(
                    f"the list of {kind} objects took so long that the API server forgot it.",
                    item="API server",
                    rule="list-expired",
                    fix="run again.",
                    status=410,
                ) from None
            raise
        seen.asked.add(kind)
    if "Namespace" in seen.refused:
        raise HackspaceError(
            "namespaces may not be listed, and nothing can be said without them.",
            item="API server",
            rule="forbidden",
            fix="give the login the ClusterRole of docs/tiers_impact.md.",
            status=403,
        )
    return seen


def applied(api: Api, namespace: str) -> tuple[t.Any, str]:
    """Return the table that was applied, as it is remembered in the cluster, and otherwise nothing and why."""
    place = f"ConfigMap {namespace}/{TABLE_NAME}"
    try:
        record = api.get(f"/api/v1/namespaces/{namespace}/configmaps/{TABLE_NAME}")
    except ServerError as error:
        if error.status != 403:
            raise
        raise HackspaceError(
            f"{place} may not be read.",
            item="old",
            rule="forbidden",
            fix="give the login the Role of docs/tiers_impact.md, or give old_table.",
            status=403,
        ) from None
    if record is None:
        return None, f"{place} is not there: no table was applied, or not by namespace_tiers."
    try:
        table = json.loads((record.get("data") or {}).get(TABLE_KEY) or "")
    except ValueError:
        table = None
    if not isinstance(table, dict):
        raise HackspaceError(
            f"{place} holds no table.",
            item="old",
            rule="applied-table",
            fix="apply the table once more with namespace_tiers, or give old_table.",
        )
    return table, ""


# -- what is needed of an object -----------------------------------------------------------------------------------


def _some(value: t.Any, *keys: str) -> Object:
    return {key: value[key] for key in keys if value.get(key) is not None} if isinstance(value, Mapping) else {}


def _box(one: t.Any) -> Object:
    return _some(one, "name", "resources", "restartPolicy")


def _pod_spec(spec: t.Any, *more: str) -> Object:
    if not isinstance(spec, Mapping):
        return {}
    kept = _some(spec, "priorityClassName", "priority", "overhead", "resources", "activeDeadlineSeconds", *more)
    for key in ("containers", "initContainers"):
        if spec.get(key):
            kept[key] = [_box(one) for one in spec[key]]
    options = _some(spec.get("dnsConfig"), "options")
    if options:
        kept["dnsConfig"] = options
    if spec.get("affinity"):
        kept["affinity"] = spec["affinity"]
    return kept


def _template(job: t.Any, *more: str) -> Object:
    inner = (job.get("template") or {}).get("spec") if isinstance(job, Mapping) else None
    return {"template": {"spec": _pod_spec(inner, "nodeSelector", "tolerations", *more)}}


_OWNER: t.Final = ("apiVersion", "kind", "controller")
_ANNOTATIONS: t.Final = (
    "kubernetes.io/config.mirror",
    "meta.helm.sh/release-name",
    "argocd.argoproj.io/tracking-id",
)


def _metadata(kind: str, value: t.Any) -> Object:
    kept = _some(value, "name", "namespace")
    if kind in ("Namespace", "LimitRange", "ResourceQuota", "Pod", "Node"):
        kept |= _some(value, "labels")
    if kind in ("Pod", "Job"):
        kept["ownerReferences"] = [_some(one, *_OWNER) for one in value.get("ownerReferences") or ()]
    elif value.get("ownerReferences"):
        kept["ownerReferences"] = [_some(one, *_OWNER) for one in value["ownerReferences"]]
    if kind == "Namespace":
        kept |= _some(value, "annotations")
    elif value.get("annotations"):
        kept["annotations"] = _some(value["annotations"], *_ANNOTATIONS)
    if kind in ("LimitRange", "ResourceQuota") and value.get("managedFields"):
        kept["managedFields"] = [
            {
                **_some(one, "manager", "subresource"),
                "fieldsV1": ["f:spec"] if "f:spec" in (one.get("fieldsV1") or {}) else [],
            }
            for one in value["managedFields"]
        ]
    return kept


def _spec(kind: str, spec: t.Any) -> Object:
    if kind == "Pod":
        return _pod_spec(spec)
    if kind in ("Deployment", "StatefulSet", "DaemonSet"):
        return {**_some(spec, "replicas", "selector", "strategy", "updateStrategy"), **_template(spec)}
    if kind == "Job":
        return {**_some(spec, "parallelism", "completions", "suspend"), **_template(spec)}
    if kind == "CronJob":
        job = spec.get("jobTemplate") or {}
        inner = job.get("spec") or {}
        kept = {**_some(inner, "parallelism", "completions"), **_template(inner)}
        return {**_some(spec, "suspend", "concurrencyPolicy"), "jobTemplate": {"spec": kept}}
    if kind == "Node":
        return _some(spec, "taints")
    if kind == "HorizontalPodAutoscaler":
        return _some(spec, "maxReplicas", "scaleTargetRef")
    return dict(spec) if isinstance(spec, Mapping) else {}


_STATUS: t.Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": ("phase",),
    "Node": ("allocatable",),
    "ResourceQuota": ("used",),
    "Deployment": ("replicas",),
    "StatefulSet": ("replicas",),
    "DaemonSet": ("desiredNumberScheduled", "currentNumberScheduled"),
    "Job": ("active", "succeeded", "conditions"),
}


def trimmed(one: Mapping[str, t.Any]) -> Object | None:
    """Return what the report needs of a live object; nothing of a kind that it does not look at."""
    kind = str(one.get("kind", ""))
    group = str(one.get("apiVersion") or _VERSIONS.get(kind, "")).rpartition("/")[0]
    if kind not in _VERSIONS or group != _VERSIONS[kind].rpartition("/")[0]:
        return None
    meta = one.get("metadata")
    kept: Object = {"apiVersion": one.get("apiVersion") or _VERSIONS[kind], "kind": kind}
    if kind in POLICIES:
        kept["metadata"] = _some(meta, "name", "annotations")
        return kept | _some(one, "spec")
    kept["metadata"] = _metadata(kind, meta if isinstance(meta, Mapping) else {})
    if kind == "PriorityClass":
        return kept | _some(one, "globalDefault", "value")
    if kind != "Namespace":
        kept["spec"] = _spec(kind, one.get("spec") or {})
    status = one.get("status") or {}
    if kind == "CronJob":
        kept["status"] = {"active": [{} for _one in status.get("active") or ()]}
    elif kind in _STATUS:
        kept["status"] = _some(status, *_STATUS[kind])
    return kept


def from_dump(found: Iterable[Mapping[str, t.Any]], seen: Seen) -> None:
    """Add the objects of a dump, trimmed before, to what was seen; one that is there twice counts once."""
    known = {_key(one) for one in (*seen.objects, *seen.policies)}
    for one in found:
        key = _key(one)
        if key not in known:
            seen.add(one)
            if "metadata" in one:
                known.add(key)


def _key(one: Mapping[str, t.Any]) -> tuple[str, str, str]:
    meta = one.get("metadata") or {}
    return str(one.get("kind", "")), str(meta.get("namespace", "")), str(meta.get("name", ""))
