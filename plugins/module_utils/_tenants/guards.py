# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What confines tenants beyond RBAC: admission policies inside the API server, for all namespaces of tenants.

They are the same for all tenants. What differs (hosts, StorageClasses) stands in annotations of the namespace, which
tenants cannot change; so a further tenant costs no further policy.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from .._tiers import cel
from .model import REQUIRED, Namespace, Tenant
from .parts import OWNED, Object, platform_metadata
from .profile import TENANT_LABEL, USERS, TenantProfile

API: t.Final = "admissionregistration.k8s.io/v1"

OWNED_POLICY: t.Final = "tenant-owned"
FLUX: t.Final = "tenant-flux"
SOURCES: t.Final = "tenant-sources"
INGRESSES: t.Final = "tenant-ingresses"
ROUTES: t.Final = "tenant-routes"
SERVICES: t.Final = "tenant-services"
VOLUMES: t.Final = "tenant-volumes"
SECRETS: t.Final = "tenant-secrets"
EXTERNAL: t.Final = "tenant-external-secrets"
PODS: t.Final = "tenant-pods"
NAMES: t.Final = (
    EXTERNAL,
    FLUX,
    INGRESSES,
    OWNED_POLICY,
    PODS,
    ROUTES,
    SECRETS,
    SERVICES,
    SOURCES,
    VOLUMES,
)

#: Annotations that tools put on whatever they apply.
_TOOLS: t.Final = ("kubectl.kubernetes.io/", "kustomize.toolkit.fluxcd.io/", "meta.helm.sh/", "reconcile.fluxcd.io/")
#: What would give a Service a name or an address outside of the cluster.
_PUBLISHING: t.Final = ("external-dns", "cilium", "metallb", "load-balancer")

_CONTROLLERS: t.Final = ("system:serviceaccounts:", "system:nodes")
#: Types of Secrets that are logins to the API server.
_TOKENS: t.Final = ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token")


def hosts_key(profile: TenantProfile) -> str:
    """Return the annotation with a namespace's hosts."""
    return profile.key("hosts")


def storage_key(profile: TenantProfile) -> str:
    """Return the annotation with a namespace's StorageClasses."""
    return profile.key("storage-classes")


def hosts_text(tenant: Tenant, namespace: Namespace) -> str:
    """Return a namespace's hosts: ``cal.example.org=app .example.org=required``; with a dot, all that is below."""
    found: list[str] = []
    for one in tenant.domains:
        if one.namespace == namespace.name:
            mode = one.auth if one.auth == REQUIRED else "open"
            found += [f"{dot}{one.name}={mode}" for dot in (("", ".") if one.subdomains else ("",))]
    return " ".join(sorted(found))


def policies(profile: TenantProfile) -> list[Object]:
    """Return the policies and their bindings."""
    made = [
        _owned(profile),
        _flux(profile),
        _sources(profile),
        _ingresses(profile),
        _routes(profile),
        _services(),
        _volumes(profile),
        _secrets(),
        _external(),
        _pods(profile),
    ]
    return [*made, *(_binding(one["metadata"]["name"]) for one in made)]


# -- wrapping ------------------------------------------------------------------------------------------------------


def _deny(expression: str, message: str) -> Object:
    return {"expression": expression, "message": message, "reason": "Forbidden"}


def _rule(group: str, resources: Iterable[str], *operations: str, version: str = "*") -> Object:
    return {
        "apiGroups": [group],
        "apiVersions": [version],
        "operations": list(operations or ("CREATE", "UPDATE")),
        "resources": list(resources),
    }


def _policy(
    name: str,
    rules: list[Object],
    validations: list[Object],
    *,
    variables: Mapping[str, str] | None = None,
    conditions: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Object:
    constraints: Object = {
        "namespaceSelector": {"matchExpressions": [{"key": TENANT_LABEL, "operator": "Exists"}]},
        "resourceRules": rules,
    }
    if labels:
        constraints["objectSelector"] = {"matchLabels": dict(labels)}
    spec: Object = {"failurePolicy": "Fail", "matchConstraints": constraints}
    if conditions:
        spec["matchConditions"] = [{"name": key, "expression": text} for key, text in conditions.items()]
    if variables:
        spec["variables"] = [{"name": key, "expression": text} for key, text in variables.items()]
    spec["validations"] = validations
    return {"apiVersion": API, "kind": "ValidatingAdmissionPolicy", "metadata": platform_metadata(name), "spec": spec}


def _binding(name: str) -> Object:
    return {
        "apiVersion": API,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": platform_metadata(name),
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }


#: What is being deleted loses finalizers, and must not be held by what was wrong with it. It does not become something
#: else on its way: a finalizer of the tenant's own would keep it there, past all rules.
_STAYS: t.Final = {
    "stays": "!has(object.metadata.deletionTimestamp) || object.?spec != oldObject.?spec || "
    "object.metadata.?annotations != oldObject.metadata.?annotations"
}
#: The same for what never changes its type.
_STAYS_SO: t.Final = {"stays": "!has(object.metadata.deletionTimestamp)"}


def _people(profile: TenantProfile) -> str:
    """Say who administers the platform: not its controllers, which make what tenants wrote into templates."""
    groups = cel.texts(sorted({one for one in profile.platform_groups if not one.startswith(_CONTROLLERS)}))
    users = cel.texts(sorted(set(profile.platform_users) - set(USERS)))
    name = "request.userInfo.?username.orValue('')"
    # the group does not make a controller a person
    return (
        f"{name} in {users} || (!{name}.startsWith('system:') && "
        f"request.userInfo.?groups.orValue([]).exists(g, g in {groups}))"
    )


def _platform(profile: TenantProfile) -> str:
    """Say who acts for the platform, its controllers included."""
    groups, users = sorted(set(profile.platform_groups)), cel.texts(sorted(set(profile.platform_users)))
    mine = "system:serviceaccounts:"
    # A ServiceAccount is in this group by its name alone; who impersonates one may leave the group out.
    accounts = [f"system:serviceaccount:{one.removeprefix(mine)}:" for one in groups if one.startswith(mine)]
    name = "request.userInfo.?username.orValue('')"
    return (
        f"request.userInfo.?groups.orValue([]).exists(g, g in {cel.texts(groups)}) || {name} in {users} || "
        f"{cel.texts(accounts)}.exists(p, {name}.startsWith(p))"
    )


# -- policies ------------------------------------------------------------------------------------------------------


def _owned(profile: TenantProfile) -> Object:
    return _policy(
        OWNED_POLICY,
        [_rule("*", ["*"], "CREATE", "UPDATE", "DELETE")],
        [_deny(_platform(profile), "this belongs to the platform; only the platform makes, changes or deletes it")],
        labels=dict(OWNED),
    )


def _flux(profile: TenantProfile) -> Object:
    account = cel.text(profile.flux_account)
    own = "request.namespace"
    places = {
        "sourceRef": "object.spec.?sourceRef.?namespace",
        "chartRef": "object.spec.?chartRef.?namespace",
        "chart": "object.spec.?chart.?spec.?sourceRef.?namespace",
    }
    same = " && ".join(f"{text}.orValue({own}) == {own}" for text in places.values())
    return _policy(
        FLUX,
        [
            _rule("kustomize.toolkit.fluxcd.io", ["kustomizations"]),
            _rule("helm.toolkit.fluxcd.io", ["helmreleases"]),
        ],
        [
            _deny(
                f"object.spec.?serviceAccountName.orValue('') == {account}",
                f"serviceAccountName must be {profile.flux_account}",
            ),
            _deny(same, "a source of another namespace cannot be used"),
            _deny(
                f"object.spec.?dependsOn.orValue([]).all(d, d.?namespace.orValue({own}) == {own})",
                "dependsOn cannot name another namespace",
            ),
            _deny(
                f"object.spec.?targetNamespace.orValue({own}) == {own} && "
                f"object.spec.?storageNamespace.orValue({own}) == {own}",
                "targetNamespace must be this namespace",
            ),
            _deny("!has(object.spec.kubeConfig)", "other clusters cannot be reconciled from here"),
        ],
        conditions=_STAYS,
    )


def _sources(profile: TenantProfile) -> Object:
    allowed = cel.texts(sorted(set(profile.git_allow)))
    url = "object.spec.?url.orValue('')"
    return _policy(
        SOURCES,
        [_rule("source.toolkit.fluxcd.io", ["buckets", "gitrepositories", "helmrepositories", "ocirepositories"])],
        [
            _deny(
                f"{allowed}.exists(p, {url}.startsWith(p)) && !{url}.contains('..') && !{url}.contains('%')",
                "sources come only from " + (", ".join(sorted(set(profile.git_allow))) or "nowhere"),
            )
        ],
        conditions=_STAYS,
    )


#: Whether a host ``h`` is in the namespace's list.
_OWN: t.Final = (
    "(h != '' && !h.contains('*') && variables.hosts.exists(e, "
    "e.split('=')[0] == h || (e.startsWith('.') && h.endsWith(e.split('=')[0]))))"
)


def _host_variables(profile: TenantProfile, named: str) -> dict[str, str]:
    """Return the variables that decide about hosts; the platform's list is ``hosts``, the object's is ``named``."""
    return {
        "hosts": f"{cel.annotation('namespaceObject', hosts_key(profile))}.split(' ').filter(e, e != '')",
        "named": named,
        "foreign": f"variables.named.filter(h, !{_OWN})",
        # The host itself decides; if only what is above it is listed, the strictest of those does.
        "closed": "variables.named.exists(h, variables.hosts.exists(e, e == h + '=required') || "
        "(!variables.hosts.exists(e, e.split('=')[0] == h) && variables.hosts.exists(e, "
        "e.startsWith('.') && e.endsWith('=required') && h.endsWith(e.split('=')[0]))))",
        "notes": "object.metadata.?annotations.orValue({})",
    }


def _annotations(profile: TenantProfile) -> Object:
    known = cel.texts(sorted({*profile.ingress_annotations, *profile.authentication}))
    tools = cel.texts(_TOOLS)
    return _deny(
        f"variables.notes.all(k, k in {known} || {tools}.exists(p, k.startsWith(p)))",
        "only these annotations are allowed: "
        + (", ".join(sorted({*profile.ingress_annotations, *profile.authentication})) or "none"),
    )


def _hosts_rule() -> Object:
    return {
        **_deny("size(variables.foreign) == 0", "only domains of this namespace's declaration can be used"),
        "messageExpression": "'hosts that are not of this namespace, empty or with a wildcard: \"' + "
        "variables.foreign.join('\", \"') + '\"'",
    }


def _ingresses(profile: TenantProfile) -> Object:
    named = "object.spec.?rules.orValue([]).map(r, r.?host.orValue(''))"
    needed = [
        f"variables.notes[?{cel.text(key)}].orValue('') == {cel.text(value)}"
        for key, value in sorted(profile.authentication.items())
    ]
    rules = [
        _deny(
            "!has(object.spec.defaultBackend) && size(object.spec.?rules.orValue([])) > 0",
            "an Ingress has rules with hosts, and no default backend",
        ),
        _hosts_rule(),
        _deny(
            f"object.spec.?tls.orValue([]).all(c, c.?hosts.orValue([]).all(h, {_OWN}))",
            "tls names hosts that are not of this namespace's declaration",
        ),
        _annotations(profile),
        _deny(
            f"!variables.closed || ({' && '.join(needed) or 'false'})",
            "a host with auth: required needs the annotations " + ", ".join(sorted(profile.authentication))
            if needed
            else "a host with auth: required cannot be an Ingress: the platform has no authentication there",
        ),
    ]
    if profile.ingress_classes:
        rules.append(
            _deny(
                f"object.spec.?ingressClassName.orValue('') in {cel.texts(sorted(profile.ingress_classes))}",
                "ingressClassName is one of " + ", ".join(sorted(profile.ingress_classes)),
            )
        )
    return _policy(
        INGRESSES,
        [_rule("networking.k8s.io", ["ingresses"])],
        rules,
        variables=_host_variables(profile, named),
        conditions=_STAYS,
    )


def _routes(profile: TenantProfile) -> Object:
    def gateways(some: Iterable[str]) -> str:
        return (
            "object.spec.?parentRefs.orValue([]).all(p, p.?kind.orValue('Gateway') == 'Gateway' && "
            f"p.?namespace.orValue(request.namespace) + '/' + p.name in {cel.texts(sorted(some))})"
        )

    every = {f"{one.namespace}/{one.name}" for one in profile.gateways}
    closed = {f"{one.namespace}/{one.name}" for one in profile.gateways if one.authenticates}
    return _policy(
        ROUTES,
        [_rule("gateway.networking.k8s.io", ["grpcroutes", "httproutes"])],
        [
            _deny("size(object.spec.?hostnames.orValue([])) > 0", "a route has hostnames"),
            _hosts_rule(),
            _annotations(profile),
            _deny(gateways(every), "parents of routes are only " + (", ".join(sorted(every)) or "none")),
            _deny(
                f"!variables.closed || {gateways(closed)}",
                "a host with auth: required needs a Gateway that authenticates: "
                + (", ".join(sorted(closed)) or "there is none"),
            ),
        ],
        variables=_host_variables(profile, "object.spec.?hostnames.orValue([])"),
        conditions=_STAYS,
    )


def _services() -> Object:
    return _policy(
        SERVICES,
        [_rule("", ["services"], version="v1")],
        [
            _deny("object.spec.?type.orValue('ClusterIP') == 'ClusterIP'", "only Services of type ClusterIP"),
            _deny("size(object.spec.?externalIPs.orValue([])) == 0", "externalIPs are not allowed"),
            _deny(
                "object.metadata.?annotations.orValue({}).all(k, "
                f"!{cel.texts(_PUBLISHING)}.exists(p, k.contains(p)))",
                "annotations that publish a Service are not allowed",
            ),
        ],
        conditions=_STAYS,
    )


def _volumes(profile: TenantProfile) -> Object:
    note = cel.annotation("namespaceObject", storage_key(profile))
    made = "request.operation == 'CREATE'"
    name = "spec.?volumeName.orValue('')"
    return _policy(
        VOLUMES,
        [_rule("", ["persistentvolumeclaims"], version="v1")],
        [
            _deny(
                f"!({made}) || object.spec.?storageClassName.orValue('') in variables.classes",
                "storageClassName is one of the data classes in this tenant's declaration",
            ),
            _deny(
                # A claim that waits for its volume may get a name later, once; only controllers give it.
                f"{made} ? object.{name} == '' : (object.{name} == oldObject.{name} || {_platform(profile)})",
                "a volume that is there already cannot be taken by name",
            ),
            _deny(
                f"!({made}) || object.spec.?dataSourceRef.?namespace.orValue('') == ''",
                "volumes are not made from other namespaces",
            ),
        ],
        variables={"classes": f"{note}.split(' ').filter(e, e != '')"},
        conditions={"tenant": f"!({_people(profile)})"},
    )


def _secrets() -> Object:
    return _policy(
        SECRETS,
        [_rule("", ["secrets"], version="v1")],
        [
            _deny(
                f"!(object.?type.orValue('') in {cel.texts(_TOKENS)})",
                "tokens of ServiceAccounts are not kept in Secrets",
            )
        ],
        conditions=_STAYS_SO,
    )


def _external() -> Object:
    refs = (
        "[object.spec.?secretStoreRef] + object.spec.?data.orValue([]).map(d, d.?sourceRef.?storeRef) + "
        "object.spec.?dataFrom.orValue([]).map(d, d.?sourceRef.?storeRef)"
    )
    return _policy(
        EXTERNAL,
        [_rule("external-secrets.io", ["externalsecrets"])],
        [
            _deny(
                f"({refs}).all(r, r.?kind.orValue('SecretStore') == 'SecretStore')",
                "only SecretStores of this namespace can be used",
            ),
            _deny(
                "object.spec.?dataFrom.orValue([]).all(d, !d.?sourceRef.?generatorRef.hasValue())",
                "generators cannot be used",
            ),
            _deny("!object.spec.?target.?manifest.hasValue()", "only Secrets are made from OpenBao secrets"),
        ],
        conditions=_STAYS,
    )


def _pods(profile: TenantProfile) -> Object:
    accounts = sorted({profile.flux_account, profile.eso_account})
    return _policy(
        PODS,
        [_rule("", ["pods"], "CREATE", version="v1")],
        [
            _deny(
                f"!(object.spec.?serviceAccountName.orValue('') in {cel.texts(accounts)})",
                f"no pod runs as {' or '.join(accounts)}",
            )
        ],
    )
