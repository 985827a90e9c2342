# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the narrow identity with which tenants are brought to clusters."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._kube.model import Inventory
from ..module_utils._tenants.profile import parse
from ..module_utils._tenants.provisioner import Account, objects
from ..module_utils._tiers.model import plain

DOCUMENTATION = r"""
name: tenant_provisioner
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: The narrow identity with which tenants are brought to a cluster
description:
  - Renders a ServiceAccount with which M(hackspace.infra.tenants) and M(hackspace.infra.tenants_info) run unattended,
    its rights, and an admission policy that lets it write in namespaces of tenants only.
  - It may not read Kubernetes Secrets, and binds tenants' own accounts and people to the ClusterRoles of tenants only.
  - What all tenants share (ClusterRoles and admission policies) is made by an administrator's run.
  - Apply it as an administrator, with M(hackspace.infra.kube_apply).
positional: _input
options:
  _input:
    description: Name of the ServiceAccount.
    type: str
    required: true
  namespace:
    description: Its namespace. If it is none of the platform's, name it in C(platform_tenants.platform.groups).
    type: str
    default: kube-system
  platform:
    description: What the platform offers, as in C(platform_tenants).
    type: dict
    default: {}
  rendered:
    description: Only what a run needs that renders into Git - it reads, and writes nothing to the cluster.
    type: bool
    default: false
  removal:
    description: Whether it may archive and remove tenants.
    type: bool
    default: false
  inventory:
    description: Name under which the tenants' objects are owned.
    type: str
    default: tenants
  inventory_namespace:
    description: Namespace of the ownership record.
    type: str
    default: kube-system
  label_domain:
    description: Domain of labels and annotations.
    type: str
    default: infra.hackspace.org
"""

EXAMPLES = r"""
- name: Make the identity with which CI brings tenants to the cluster
  hackspace.infra.kube_apply:
    kubeconfig: ~/.kube/member-prod
    inventory: {name: tenants-provisioner, namespace: kube-system}
    objects: "{{ 'tenants-provisioner' | hackspace.infra.tenant_provisioner(platform=platform_tenants) }}"
"""

RETURN = r"""
_value:
  description: Kubernetes objects, in the order in which to apply them.
  type: list
  elements: dict
"""


def tenant_provisioner(
    name: t.Any,
    *,
    namespace: str = "kube-system",
    platform: t.Any = None,
    rendered: bool = False,
    removal: bool = False,
    inventory: str = "tenants",
    inventory_namespace: str = "kube-system",
    label_domain: str = "infra.hackspace.org",
) -> list[dict[str, t.Any]]:
    """Return the objects; see DOCUMENTATION."""
    try:
        profile = parse(plain(platform or {}), label_domain=str(label_domain))
        account = Account(str(name), str(namespace), rendered=bool(rendered), removal=bool(removal))
        record = Inventory(str(inventory), str(inventory_namespace), str(label_domain)).checked()
        return objects(account, record, profile)
    except HackspaceError as error:
        raise AnsibleFilterError(f"tenant_provisioner: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"tenant_provisioner": tenant_provisioner}
