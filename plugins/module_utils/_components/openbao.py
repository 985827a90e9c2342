# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""OpenBao inside Kubernetes: its objects, and the names that its listener's certificate has to have."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Mapping

from .._core.errors import InvalidInput, check

PORT: t.Final = 8200
CLUSTER_PORT: t.Final = 8201
_IMAGE: t.Final = re.compile(r"[a-z0-9][a-z0-9._/:-]*(:[A-Za-z0-9._-]+)?@sha256:[0-9a-f]{64}")
_NAME: t.Final = re.compile(r"[a-z]([-a-z0-9]{0,40}[a-z0-9])?")
_SPACE: t.Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_QUANTITY: t.Final = re.compile(r"[1-9][0-9]*(Mi|Gi|Ti)")
_TLS: t.Final = "/openbao/tls"
_CERTIFICATE: t.Final = "openbao-tls"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What can be chosen.

    :ivar image: with its digest.
    :ivar spread: whether two servers may share a node: ``required`` (never) or ``preferred``.
    :ivar extra_config: further lines of the configuration (HCL), such as a seal or an audit device.
    """

    image: str
    name: str = "openbao"
    namespace: str = "openbao"
    replicas: int = 3
    storage: str = "10Gi"
    storage_class: str = ""
    tls_secret: str = _CERTIFICATE
    spread: str = "required"
    priority_class: str = ""
    resources: Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tolerations: tuple[Mapping[str, t.Any], ...] = ()
    cluster_domain: str = "cluster.local"
    extra_config: str = ""

    @property
    def internal(self) -> str:
        """The headless Service, which gives each pod a name."""
        return f"{self.name}-internal"

    @property
    def labels(self) -> dict[str, str]:
        return {"app.kubernetes.io/name": self.name, "component": "server"}

    def pods(self) -> list[str]:
        return [f"{self.name}-{number}" for number in range(self.replicas)]


def parse(raw: object, item: str = "openbao") -> Settings:
    """Return the settings.

    :raises InvalidInput: for the first that breaks a rule.
    """
    if not isinstance(raw, Mapping):
        raise InvalidInput("this is not a map.", item=item, rule="openbao-settings", fix="give at least image.")
    known = {field.name for field in dataclasses.fields(Settings)}
    for key in raw:
        check(
            key in known,
            f"{key!r} is not known.",
            item=f"{item}.{key}",
            rule="openbao-settings",
            fix=f"choose among {', '.join(sorted(known))}.",
        )
    image = str(raw.get("image") or "")
    check(
        _IMAGE.fullmatch(image),
        "the image is not pinned by its digest.",
        item=f"{item}.image",
        rule="openbao-image",
        fix="write REGISTRY/NAME:VERSION@sha256:DIGEST; 'skopeo inspect' and registries show the digest.",
    )
    given = {key: value for key, value in raw.items() if value is not None}
    if "tolerations" in given:
        given["tolerations"] = tuple(given["tolerations"])
    settings = Settings(**given)
    for key, pattern in (("name", _NAME), ("namespace", _SPACE), ("tls_secret", _SPACE)):
        check(
            pattern.fullmatch(str(getattr(settings, key))),
            f"{getattr(settings, key)!r} is not a usable name.",
            item=f"{item}.{key}",
            rule="openbao-name",
            fix="use lower-case letters, digits and dashes; the name of Services begins with a letter.",
        )
    check(
        isinstance(settings.replicas, int) and settings.replicas in (1, 3, 5, 7),
        f"{settings.replicas!r} servers cannot agree by majority.",
        item=f"{item}.replicas",
        rule="openbao-replicas",
        fix="use 3 or 5; 1 for a trial.",
    )
    check(
        _QUANTITY.fullmatch(str(settings.storage)),
        f"{settings.storage!r} is no size of a volume.",
        item=f"{item}.storage",
        rule="openbao-storage",
        fix="write it as 10Gi.",
    )
    check(
        settings.spread in ("required", "preferred"),
        f"{settings.spread!r} is not known.",
        item=f"{item}.spread",
        rule="openbao-spread",
        fix="choose required or preferred.",
    )
    return settings


def names(settings: Settings) -> list[str]:
    """Return the DNS names under which clients and the other servers reach the listeners."""
    found = []
    for name in (settings.name, settings.internal, *(f"{pod}.{settings.internal}" for pod in settings.pods())):
        found += [name, f"{name}.{settings.namespace}", f"{name}.{settings.namespace}.svc"]
        found.append(f"{name}.{settings.namespace}.svc.{settings.cluster_domain}")
    return [*found, "localhost"]


def config(settings: Settings) -> str:
    """Return the configuration file."""
    joins = "".join(
        f"""
  retry_join {{
    leader_api_addr       = "https://{pod}.{settings.internal}:{PORT}"
    leader_ca_cert_file   = "{_TLS}/ca.crt"
    leader_tls_servername = "{pod}.{settings.internal}"
  }}
"""
        for pod in settings.pods()
    )
    text = f"""ui           = false
cluster_name = "{settings.name}"

listener "tcp" {{
  address         = "[::]:{PORT}"
  cluster_address = "[::]:{CLUSTER_PORT}"
  tls_cert_file   = "{_TLS}/tls.crt"
  tls_key_file    = "{_TLS}/tls.key"
}}

storage "raft" {{
  path = "/openbao/data"
{joins}}}
"""
    return text + (f"\n{settings.extra_config.strip()}\n" if settings.extra_config.strip() else "")


def objects(settings: Settings) -> list[dict[str, t.Any]]:
    """Return the objects. The Kubernetes Secret with the certificate is not among them."""
    return [
        _object(settings, "v1", "ServiceAccount", settings.name, automountServiceAccountToken=False),
        _object(settings, "v1", "ConfigMap", f"{settings.name}-config", data={"openbao.hcl": config(settings)}),
        _service(settings, settings.name),
        _service(settings, settings.internal, clusterIP="None", publishNotReadyAddresses=True),
        _object(
            settings,
            "policy/v1",
            "PodDisruptionBudget",
            settings.name,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": settings.labels}},
        ),
        _object(settings, "apps/v1", "StatefulSet", settings.name, spec=_stateful_set(settings)),
    ]


def _object(settings: Settings, api_version: str, kind: str, name: str, **rest: t.Any) -> dict[str, t.Any]:
    metadata = {"name": name, "namespace": settings.namespace, "labels": settings.labels}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def _service(settings: Settings, name: str, **spec: t.Any) -> dict[str, t.Any]:
    ports = [
        {"name": "https", "port": PORT, "targetPort": "https"},
        {"name": "cluster", "port": CLUSTER_PORT, "targetPort": "cluster"},
    ]
    return _object(settings, "v1", "Service", name, spec={"selector": settings.labels, "ports": ports, **spec})


def _stateful_set(settings: Settings) -> dict[str, t.Any]:
    claim: dict[str, t.Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": settings.storage}},
    }
    if settings.storage_class:
        claim["storageClassName"] = settings.storage_class
    return {
        "serviceName": settings.internal,
        "replicas": settings.replicas,
        # A sealed server is not ready; the next one must not wait for it.
        "podManagementPolicy": "Parallel",
        # A server that is made again is sealed: people restart them one by one.
        "updateStrategy": {"type": "OnDelete"},
        "selector": {"matchLabels": settings.labels},
        "template": {"metadata": {"labels": settings.labels}, "spec": _pod(settings)},
        "volumeClaimTemplates": [
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": claim}
        ],
    }


def _pod(settings: Settings) -> dict[str, t.Any]:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": settings.labels}}
    spread: dict[str, t.Any] = (
        {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        if settings.spread == "required"
        else {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}
    )
    spec: dict[str, t.Any] = {
        "serviceAccountName": settings.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "affinity": {"podAntiAffinity": spread},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 100,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(settings)],
        "volumes": [
            {"name": "config", "configMap": {"name": f"{settings.name}-config"}},
            {"name": "tls", "secret": {"secretName": settings.tls_secret, "defaultMode": 0o440}},
        ],
    }
    if settings.priority_class:
        spec["priorityClassName"] = settings.priority_class
    if settings.node_selector:
        spec["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        spec["tolerations"] = [dict(one) for one in settings.tolerations]
    return spec


def _container(settings: Settings) -> dict[str, t.Any]:
    address = f"$(POD_NAME).{settings.internal}.{settings.namespace}.svc"
    container: dict[str, t.Any] = {
        "name": "openbao",
        "image": settings.image,
        "command": ["bao", "server", "-config=/openbao/config/openbao.hcl"],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "BAO_RAFT_NODE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "BAO_API_ADDR", "value": f"https://{address}:{PORT}"},
            {"name": "BAO_CLUSTER_ADDR", "value": f"https://{address}:{CLUSTER_PORT}"},
        ],
        "ports": [
            {"name": "https", "containerPort": PORT, "protocol": "TCP"},
            {"name": "cluster", "containerPort": CLUSTER_PORT, "protocol": "TCP"},
        ],
        # Ready is who is unsealed, standby or not; alive is who answers at all.
        "readinessProbe": _health("standbyok=true", 5),
        "livenessProbe": {**_health("standbyok=true&sealedcode=204&uninitcode=204", 10), "initialDelaySeconds": 60},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "data", "mountPath": "/openbao/data"},
            {"name": "config", "mountPath": "/openbao/config", "readOnly": True},
            {"name": "tls", "mountPath": _TLS, "readOnly": True},
        ],
    }
    if settings.resources:
        container["resources"] = dict(settings.resources)
    return container


def _health(query: str, period: int) -> dict[str, t.Any]:
    return {
        "httpGet": {"path": f"/v1/sys/health?{query}", "port": "https", "scheme": "HTTPS"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
    }
