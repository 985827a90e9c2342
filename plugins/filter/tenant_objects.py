# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the Kubernetes objects of tenants."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._tenants.model import parse as parse_tenant
from ..module_utils._tenants.objects import Place, platform_objects
from ..module_utils._tenants.objects import tenant_objects as render
from ..module_utils._tenants.profile import parse
from ..module_utils._tiers.model import plain

DOCUMENTATION = r"""
name: tenant_objects
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: The Kubernetes objects of tenants
description:
  - Renders what declared tenants have on one cluster, to look at, or to apply with M(hackspace.infra.kube_apply).
  - Checks the form of the declarations; what they mean together is judged by P(hackspace.infra.tenant_findings#filter).
  - The output is the same for the same input, and sorted in the order in which to apply it.
positional: _input
options:
  _input:
    description: A declaration, or a list of them.
    type: raw
    required: true
  cluster:
    description: Name of the cluster. Tenants that are not on it have no objects.
    type: str
    required: true
  platform:
    description: What the platform offers, as in C(platform_tenants).
    type: dict
    default: {}
  label_domain:
    description: Domain of labels and annotations.
    type: str
    default: infra.hackspace.org
  stores:
    description:
      - How External Secrets reaches OpenBao there. Options of P(hackspace.infra.eso_stores#filter), at least C(server),
        C(mount) and C(audience). No SecretStores without.
    type: dict
    default: {}
  kv_prefix:
    description: Path in the KV engine before cluster and namespace.
    type: str
    default: tenants
  per_tenant:
    description: Each tenant has a role of its own in OpenBao, C(tenant-<name>).
    type: bool
    default: false
  state:
    description: A state for all of them instead of the declared ones.
    type: str
    choices: [active, suspended, archived, removed]
  shared:
    description: Whether the ClusterRoles and admission policies that all tenants share are among the objects.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Show what a tenant gets on member-prod
  ansible.builtin.debug:
    msg: >-
      {{ lookup('ansible.builtin.file', 'tenants/alice.yaml') | from_yaml |
      hackspace.infra.tenant_objects(cluster='member-prod', platform=platform_tenants, shared=false) }}
"""

RETURN = r"""
_value:
  description: Kubernetes objects.
  type: list
  elements: dict
"""


def tenant_objects(
    declarations: t.Any,
    *,
    cluster: str,
    platform: t.Any = None,
    label_domain: str = "infra.hackspace.org",
    stores: t.Any = None,
    kv_prefix: str = "tenants",
    per_tenant: bool = False,
    state: str | None = None,
    shared: bool = True,
) -> list[dict[str, t.Any]]:
    """Return the objects; see DOCUMENTATION."""
    try:
        given = plain(declarations)
        listed = given if isinstance(given, list) else [given]
        profile = parse(plain(platform or {}), label_domain=str(label_domain))
        place = Place(str(cluster), plain(stores or {}), kv_prefix=str(kv_prefix), per_tenant=bool(per_tenant))
        tenants = [parse_tenant(one, f"declarations[{index}]") for index, one in enumerate(listed)]
        made = platform_objects(profile) if shared else []
        for one in sorted(tenants, key=lambda each: each.name):
            made += render(one, profile, place, state=str(state) if state else None)
    except HackspaceError as error:
        raise AnsibleFilterError(f"tenant_objects: {error}") from error
    return made


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"tenant_objects": tenant_objects}
