# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The narrow identity with which ``tenants`` runs unattended: a ServiceAccount, its rights, and what confines it.

RBAC cannot say "in the namespaces of tenants", as they are not known in advance. So the rights are cluster-wide, of few
kinds and without Kubernetes Secrets, and an admission policy lets the account write only in namespaces that are
tenants', where it binds nobody of the system to anything.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._core.errors import check
from .._kube.model import Inventory
from .._tiers import cel
from . import guards, roles
from .parts import OWNED, Object
from .profile import TENANT_LABEL, TenantProfile

NAME: t.Final = "tenants-provisioner"
#: What a run that only renders into Git needs.
RENDERER: t.Final = "tenants-renderer"
_RBAC: t.Final = "rbac.authorization.k8s.io"
_READ: t.Final = ("get", "list")
_WRITE: t.Final = ("get", "list", "create", "patch")
#: What a tenant is made of, in its namespaces.
_KINDS: t.Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("", ("resourcequotas", "serviceaccounts")),
    ("bitnami.com", ("sealedsecrets",)),
    ("external-secrets.io", ("externalsecrets", "secretstores")),
    ("kustomize.toolkit.fluxcd.io", ("kustomizations",)),
    ("networking.k8s.io", ("networkpolicies",)),
    ("source.toolkit.fluxcd.io", ("gitrepositories",)),
)
#: What is looked at and stopped when a tenant is suspended.
_WORK: t.Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("", ("persistentvolumeclaims", "pods", "services")),
    ("apps", ("deployments", "replicasets", "statefulsets")),
    ("batch", ("cronjobs", "jobs")),
    ("helm.toolkit.fluxcd.io", ("helmreleases",)),
    ("networking.k8s.io", ("ingresses",)),
)
_STOPPED: t.Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("apps", ("deployments", "replicasets", "statefulsets")),
    ("batch", ("cronjobs", "jobs")),
    ("helm.toolkit.fluxcd.io", ("helmreleases",)),
)


@dataclasses.dataclass(frozen=True)
class Account:
    """Who it is.

    :ivar rendered: it only reads, as the objects go into Git.
    :ivar removal: it may also archive and remove tenants.
    """

    name: str = NAME
    namespace: str = "kube-system"
    rendered: bool = False
    removal: bool = False

    def checked(self) -> Account:
        """Return it.

        :raises InvalidInput: rule ``provisioner``.
        """
        check(
            not (self.rendered and self.removal),
            "removal is not done by rendering.",
            item="removal",
            rule="provisioner",
            fix="set one of rendered and removal.",
        )
        return self

    @property
    def user(self) -> str:
        """Return its name as the API server has it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


def objects(account: Account, inventory: Inventory, profile: TenantProfile) -> list[Object]:
    """Return the account and everything that it may, in the order in which to apply it."""
    account.checked()
    role = RENDERER if account.rendered else NAME
    mine = {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}
    made: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": account.name, "namespace": account.namespace, "labels": dict(OWNED)},
            "automountServiceAccountToken": False,
        },
        _role("ClusterRole", role, _reads() if account.rendered else _rules(account)),
        _bound("ClusterRole", role, mine),
    ]
    if not account.rendered:
        record = inventory.record_id
        configs = [
            _rule("", ("configmaps",), ("create",)),
            _rule("", ("configmaps",), ("get", "update"), (record.name,)),
            # what an archived tenant had: tenant-archive-<name>
            *([_rule("", ("configmaps",), ("get", "patch"))] if account.removal else []),
        ]
        made += [
            _role("Role", role, configs, inventory.namespace),
            _bound("Role", role, mine, inventory.namespace),
            *_guard(account, inventory, profile),
        ]
    return made


def _rule(group: str, resources: t.Sequence[str], verbs: t.Sequence[str], names: t.Sequence[str] = ()) -> Object:
    made: Object = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    if names:
        made["resourceNames"] = list(names)
    return made


def _role(kind: str, name: str, rules: list[Object], namespace: str = "") -> Object:
    metadata: Object = {"name": name, "labels": dict(OWNED)}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata, "rules": rules}


def _bound(kind: str, name: str, subject: Object, namespace: str = "") -> Object:
    metadata: Object = {"name": name, "labels": dict(OWNED)}
    if namespace:
        metadata["namespace"] = namespace
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": f"{kind}Binding",
        "metadata": metadata,
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
        "subjects": [subject],
    }


def _reads() -> list[Object]:
    """Return what every run reads: namespaces, and how Flux runs."""
    return [_rule("", ("namespaces", "pods"), _READ), _rule("apps", ("deployments",), _READ)]


def _rules(account: Account) -> list[Object]:
    removal = ("delete",) if account.removal else ()
    bound = (roles.OPERATOR, roles.RECONCILER, roles.VIEWER)
    return [
        *_reads(),
        _rule("", ("namespaces",), (*_WRITE, *removal)),
        # Who is no longer declared loses rights without being told to: bindings alone are deleted by any run.
        _rule(_RBAC, ("rolebindings",), (*_WRITE, "delete")),
        # Of other roles it can grant nothing that it does not have.
        _rule(_RBAC, ("clusterroles",), ("bind",), bound),
        _rule(_RBAC, ("clusterroles",), _READ),
        # What all tenants share is made by an administrator; here it is only looked at.
        _rule(
            guards.API.partition("/")[0],
            ("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
            _READ,
        ),
        *(_rule(group, kinds, (*_WRITE, "delete")) for group, kinds in _KINDS),
        _rule("", ("persistentvolumes",), (*_READ, *(("patch",) if account.removal else ()))),
        *(_rule(group, kinds, (*_READ, *removal)) for group, kinds in _WORK),
        *(_rule(group, kinds, ("patch",)) for group, kinds in _STOPPED),
    ]


def _guard(account: Account, inventory: Inventory, profile: TenantProfile) -> list[Object]:
    marks = " && ".join(
        f"{{0}}.metadata.?labels[?{cel.text(key)}].orValue('') == {cel.text(value)}" for key, value in OWNED
    )
    marks += f" && {{0}}.metadata.?labels[?{cel.text(TENANT_LABEL)}].orValue('') != ''"
    old, new = marks.replace("{0}", "oldObject"), marks.replace("{0}", "object")
    place = marks.replace("{0}", "namespaceObject")
    record = (
        f"request.namespace == {cel.text(inventory.namespace)} && request.resource.group == '' && "
        f"request.resource.resource == 'configmaps' && (request.name == {cel.text(inventory.record_id.name)}"
        + (" || request.name.startsWith('tenant-archive-')" if account.removal else "")
        + ")"
    )
    volume = "request.resource.resource == 'persistentvolumes' && request.operation == 'UPDATE'"
    spec: Object = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": ["*"],
                    "apiVersions": ["*"],
                    "operations": ["CREATE", "UPDATE", "DELETE", "CONNECT"],
                    "resources": ["*/*"],
                }
            ]
        },
        "matchConditions": [
            {"name": "the-account", "expression": f"request.userInfo.username == {cel.text(account.user)}"},
            {"name": "no-question", "expression": "request.resource.group != 'authorization.k8s.io'"},
        ],
        "variables": [
            {
                "name": "space",
                "expression": "request.resource.group == '' && request.resource.resource == 'namespaces'",
            },
            {"name": "binding", "expression": "request.resource.resource == 'rolebindings'"},
        ],
        "validations": [
            {
                "expression": f"!variables.space || ((request.operation == 'CREATE' || ({old})) && "
                f"(request.operation == 'DELETE' || ({new})))",
                "message": "only namespaces of tenants are made, changed and deleted",
                "reason": "Forbidden",
            },
            {
                "expression": f"variables.space || (namespaceObject != null && {place}) || ({record})"
                + (f" || ({volume})" if account.removal else ""),
                "message": "only what is in namespaces of tenants is written",
                "reason": "Forbidden",
            },
            {
                "expression": "!variables.binding || request.operation == 'DELETE' || "
                "object.?subjects.orValue([]).all(s, s.kind == 'ServiceAccount' "
                f"? s.?namespace.orValue('') == request.namespace && s.name == {cel.text(profile.flux_account)} "
                ": !s.name.startsWith('system:'))",
                "message": "a tenant's rights go to its own ServiceAccount and to people",
                "reason": "Forbidden",
            },
        ],
    }
    metadata = {"name": account.name, "labels": dict(OWNED)}
    return [
        {"apiVersion": guards.API, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {
            "apiVersion": guards.API,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": account.name, "validationActions": ["Deny"]},
        },
    ]
