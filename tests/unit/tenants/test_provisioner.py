# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The narrow identity of tenants: what it has by RBAC. What the API server makes of it is tested on a real one."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.tenant_provisioner import tenant_provisioner
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import roles
from ansible_collections.hackspace.infra.plugins.module_utils._tenants.lifecycle import WATCHED
from ansible_collections.hackspace.infra.plugins.module_utils._tenants.profile import TenantProfile

WRITES = {"create", "delete", "deletecollection", "patch", "update"}


def rules(kind: str = "ClusterRole", **options: t.Any) -> list[dict[str, t.Any]]:
    (role,) = [one for one in tenant_provisioner("ci", **options) if one["kind"] == kind]
    return list(role["rules"])


def verbs(group: str, resource: str, **options: t.Any) -> set[str]:
    return {
        verb
        for one in rules(**options)
        if group in one["apiGroups"] and resource in one["resources"]
        for verb in one["verbs"]
    }


@pytest.mark.parametrize("options", [{}, {"removal": True}, {"rendered": True}])
def test_no_secrets_no_impersonation_no_escalation_and_nothing_for_all(options: dict[str, t.Any]) -> None:
    for one in rules(**options):
        assert not {"secrets", "serviceaccounts/token", "clusterrolebindings", "roles"} & set(one["resources"])
        assert not {"impersonate", "escalate"} & set(one["verbs"])
        assert "*" not in [*one["apiGroups"], *one["resources"], *one["verbs"]]


def test_it_binds_the_roles_of_tenants_only() -> None:
    (bind,) = [one for one in rules() if "bind" in one["verbs"]]
    assert set(bind["resourceNames"]) == {one["metadata"]["name"] for one in roles.cluster_roles(TenantProfile())}
    assert not verbs("rbac.authorization.k8s.io", "clusterroles") & WRITES


def test_rendering_reads_and_writes_nothing() -> None:
    assert not {verb for one in rules(rendered=True) for verb in one["verbs"]} & WRITES
    kinds = [one["kind"] for one in tenant_provisioner("ci", rendered=True)]
    assert kinds == ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"]


@pytest.mark.parametrize(("removal", "may"), [(False, set()), (True, {"delete"})])
def test_what_destroys_only_where_that_is_asked_for(removal: bool, may: set[str]) -> None:
    for group, resource in (("", "namespaces"), ("", "persistentvolumeclaims"), ("apps", "statefulsets")):
        assert verbs(group, resource, removal=removal) & {"delete"} == may
    assert verbs("", "persistentvolumes", removal=removal) & WRITES == ({"patch"} if removal else set())


def test_everything_that_is_looked_at_for_a_state_may_be_read() -> None:
    for api_version, kind in WATCHED:
        group = api_version.rpartition("/")[0]
        plural = {"GitRepository": "gitrepositories", "NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}
        assert {"get", "list"} <= verbs(group, plural.get(kind, f"{kind.lower()}s")), kind


def test_the_account_and_its_record_may_be_elsewhere() -> None:
    made = tenant_provisioner("ci", namespace="flux-system", inventory="guests", inventory_namespace="platform")
    (record,) = [one for one in made if one["kind"] == "Role"]
    assert record["metadata"]["namespace"] == "platform"
    assert ["hackspace-inventory-guests"] in [one.get("resourceNames") for one in record["rules"]]
    (guard,) = [one for one in made if one["kind"] == "ValidatingAdmissionPolicy"]
    assert "'system:serviceaccount:flux-system:ci'" in guard["spec"]["matchConditions"][0]["expression"]


def test_rendering_removes_nothing() -> None:
    with pytest.raises(AnsibleFilterError, match="provisioner"):
        tenant_provisioner("ci", rendered=True, removal=True)
