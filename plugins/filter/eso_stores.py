# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: stores of External Secrets for the namespaces of tenants."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError
from ..module_utils._eso.model import parse
from ..module_utils._eso.stores import render

DOCUMENTATION = r"""
name: eso_stores
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: Stores of External Secrets for the namespaces of tenants
description:
  - Renders the objects by which External Secrets reads OpenBao secrets for tenants, to be applied with
    M(hackspace.infra.kube_apply).
  - For each namespace a ServiceAccount and a C(SecretStore) that logs in as that ServiceAccount, or, with
    O(scope=cluster), one C(ClusterSecretStore) that logs in as the ServiceAccount of each ExternalSecret's namespace.
  - Tokens always have the audience of O(audience), so that they are of no use at the API server.
  - Nothing refers to another namespace, and the objects hold no OpenBao secret.
  - Needs External Secrets 0.16 or newer.
positional: _input
options:
  _input:
    description:
      - The namespaces, by name or as mappings.
    type: list
    elements: raw
    required: true
    suboptions:
      namespace:
        description: Name of the namespace.
        type: str
        required: true
      service_account:
        description: Instead of O(service_account). Not with O(scope=cluster).
        type: str
      role:
        description: Instead of O(role). Not with O(scope=cluster).
        type: str
  server:
    description: Address of OpenBao as the cluster sees it, C(https://host:port). Plain C(http) on loopback only.
    type: str
    required: true
  mount:
    description: Auth mount of the cluster, as V(kubernetes-member-prod).
    type: str
    required: true
  audience:
    description: Audience of the mount's roles, as V(openbao-member-prod).
    type: str
    required: true
  api_audiences:
    description: Audiences of the cluster's API server, which must not be given as O(audience).
    type: list
    elements: str
    default: []
  role:
    description: Role on the mount.
    type: str
    default: tenant
  auth:
    description:
      - How External Secrets logs in. V(kubernetes) works on mounts of the types C(kubernetes) and C(jwt); V(jwt) uses
        the login of the same name and works on mounts of the type C(jwt).
    type: str
    choices: [kubernetes, jwt]
    default: kubernetes
  provider:
    description:
      - Provider of External Secrets. V(vault) speaks to OpenBao as well.
      - V(openbao) is there since External Secrets 2.7 and can log in with V(kubernetes) since 2.10; it has no V(jwt).
    type: str
    choices: [vault, openbao]
    default: vault
  version:
    description: Version of External Secrets on the cluster. Required with O(provider=openbao).
    type: str
  scope:
    description: A store for each namespace, or one for the cluster.
    type: str
    choices: [namespace, cluster]
    default: namespace
  conditions:
    description: Which namespaces may use the ClusterSecretStore. Required with O(scope=cluster).
    type: dict
    suboptions:
      labels:
        description: Labels of the namespaces.
        type: dict
      namespaces:
        description: Names of the namespaces.
        type: list
        elements: str
  store:
    description: Name of the stores.
    type: str
    default: openbao
  service_account:
    description: Name of the ServiceAccounts. V(default) is refused.
    type: str
    default: eso
  make_service_accounts:
    description: Render the ServiceAccounts as well.
    type: bool
    default: true
  kv_mount:
    description: Mount of the KV engine.
    type: str
    default: kv
  kv_version:
    description: Version of the KV engine.
    type: str
    choices: [v1, v2]
    default: v2
  openbao_namespace:
    description: Namespace in OpenBao, if it is not the root.
    type: str
  ca_bundle:
    description: Text of the PEM file with the CA of OpenBao's certificate.
    type: str
  ca_provider:
    description: Where External Secrets finds the CA instead.
    type: dict
    suboptions:
      kind:
        description: Kind of the object.
        type: str
        choices: [ConfigMap, Secret]
        default: ConfigMap
      name:
        description: Its name.
        type: str
        required: true
      key:
        description: Key in it.
        type: str
        default: ca.crt
      namespace:
        description: Its namespace. Required with O(scope=cluster), refused otherwise.
        type: str
  labels:
    description: Labels of all objects.
    type: dict
    default: {}
  refresh_seconds:
    description: How often External Secrets checks the login of a store. V(0) is its own default, five minutes.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Give two tenants on member-prod a store
  hackspace.infra.kube_apply:
    kubeconfig: ~/.kube/member-prod
    inventory: {name: tenant-stores, namespace: kube-system}
    objects: >-
      {{ ['4-aux-alice', '4-aux-bob'] | hackspace.infra.eso_stores(
      server='https://openbao.example.org:8200', mount='kubernetes-member-prod', audience='openbao-member-prod',
      ca_bundle=lookup('ansible.builtin.file', 'files/openbao-ca.pem')) }}

- name: Show one store for all namespaces with a label
  ansible.builtin.debug:
    msg: >-
      {{ [] | hackspace.infra.eso_stores(server='https://openbao.example.org:8200', mount='kubernetes-member-prod',
      audience='openbao-member-prod', scope='cluster', conditions={'labels': {'tenancy': 'true'}}) }}
"""

RETURN = r"""
_value:
  description: Kubernetes objects, ServiceAccounts first.
  type: list
  elements: dict
"""


def _plain(value: t.Any) -> t.Any:
    """Return *value* as ordinary containers and texts."""
    if isinstance(value, t.Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, str) else value


def eso_stores(namespaces: t.Any, **options: t.Any) -> list[dict[str, t.Any]]:
    """Return the objects; see DOCUMENTATION."""
    try:
        return render(parse(_plain(namespaces), _plain(options)))
    except HackspaceError as error:
        raise AnsibleFilterError(f"eso_stores: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"eso_stores": eso_stores}
