# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What is known of components: their namespace, what they need, and how to see that they work.

Versions, addresses and checksums are the user's. Where each manifest comes from stands in docs/components.md.
"""

from __future__ import annotations

import dataclasses
import typing as t
from types import MappingProxyType

_ENFORCE: t.Final = "pod-security.kubernetes.io/enforce"
_PRIVILEGED: t.Final[t.Mapping[str, str]] = MappingProxyType({_ENFORCE: "privileged"})
_NOTHING: t.Final[t.Mapping[str, t.Any]] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Defaults of a component.

    :ivar namespace: where its objects are that name no namespace.
    :ivar labels: of that namespace; for components whose pods the Pod Security level of the cluster would refuse.
    :ivar needs: other recipes that come before, if they are in the list.
    :ivar ready: which objects are waited for (see ``model.READY``).
    :ivar crds: custom resources that its controllers make themselves.
    :ivar webhooks: configurations of webhooks that have to have an authority and a server.
    :ivar probe: an object whose dry run goes through those webhooks.
    """

    namespace: str = ""
    labels: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()
    ready: str = "workloads"
    crds: tuple[str, ...] = ()
    webhooks: tuple[str, ...] = ()
    probe: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)


_CNI: t.Final = ("cilium", "flannel", "cni")

RECIPES: t.Final[t.Mapping[str, Recipe]] = MappingProxyType(
    {
        "cni": Recipe(namespace="kube-system"),
        "cilium": Recipe(
            namespace="kube-system",
            # made by its operator, not by the chart
            crds=("ciliumnodes.cilium.io", "ciliumendpoints.cilium.io", "ciliumnetworkpolicies.cilium.io"),
        ),
        "flannel": Recipe(namespace="kube-flannel", labels=_PRIVILEGED),
        "csi": Recipe(namespace="kube-system", needs=_CNI),
        "ceph-csi": Recipe(namespace="ceph-csi-operator-system", labels=_PRIVILEGED, needs=_CNI),
        "rook": Recipe(namespace="rook-ceph", labels=_PRIVILEGED, needs=(*_CNI, "csi", "ceph-csi")),
        "kyverno": Recipe(
            namespace="kyverno",
            needs=_CNI,
            webhooks=("kyverno-policy-validating-webhook-cfg", "kyverno-policy-mutating-webhook-cfg"),
            probe=MappingProxyType(
                {
                    "apiVersion": "policies.kyverno.io/v1",
                    "kind": "ValidatingPolicy",
                    "metadata": {"name": "hackspace-probe"},
                    "spec": {
                        "validationActions": ["Audit"],
                        "matchConstraints": {
                            "resourceRules": [
                                {
                                    "apiGroups": [""],
                                    "apiVersions": ["v1"],
                                    "operations": ["CREATE"],
                                    "resources": ["configmaps"],
                                }
                            ]
                        },
                        "validations": [{"expression": "true"}],
                    },
                }
            ),
        ),
        "external-secrets": Recipe(
            namespace="external-secrets",
            needs=_CNI,
            webhooks=("secretstore-validate", "externalsecret-validate"),
            probe=MappingProxyType(
                {
                    "apiVersion": "external-secrets.io/v1",
                    "kind": "ClusterSecretStore",
                    "metadata": {"name": "hackspace-probe"},
                    "spec": {"provider": {"fake": {"data": [{"key": "probe", "value": "probe", "version": "v1"}]}}},
                }
            ),
        ),
        # Its pods are ready when they are unsealed, which is somebody else's turn.
        "openbao": Recipe(namespace="openbao", needs=(*_CNI, "csi", "ceph-csi", "rook", "kyverno"), ready="none"),
    }
)
