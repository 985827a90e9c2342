# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.

from __future__ import annotations


class ModuleDocFragment:
    # Which tenants, on which cluster, and what the platform offers them.
    DOCUMENTATION = r"""
options:
  cluster:
    description: Name of the cluster, as declarations call it. Tenants of other clusters are left alone.
    type: str
    required: true
  known_clusters:
    description:
      - Names of all clusters that take tenants, so that a misspelt one in a declaration is found. Without it a declaration
        for a cluster that nobody knows is nobody's.
      - C(clusters) in O(platform) counts instead where it is there.
    type: list
    elements: str
    default: []
  platform:
    description: What the platform offers its tenants, as C(platform_tenants) in the inventory; its C(membership) is not read.
    type: dict
    default: {}
  declarations:
    description: The declarations themselves. Exactly one of this, O(directory) and O(repository) is given.
    type: list
    elements: dict
  directory:
    description: Folder on the controller with one file per tenant.
    type: path
  repository:
    description: Git repository with one file per tenant.
    type: dict
    suboptions:
      url:
        description: Address - C(https://), C(ssh://), or an absolute path.
        type: str
        required: true
      branch:
        description: Its branch.
        type: str
        default: main
      directory:
        description: Folder in it.
        type: str
        default: ""
      username:
        description: Name to log in with beside the token.
        type: str
        default: git
      token:
        description: Token for https.
        type: str
      token_file:
        description: File with the token, plain with mode 0600, or encrypted with ansible-vault or sops.
        type: path
      ssh_key:
        description: Private key for ssh.
        type: str
      ssh_key_file:
        description: File with the private key.
        type: path
      known_hosts:
        description: Lines with the host keys of the server. Nothing else is trusted.
        type: str
        default: ""
      ca_cert:
        description: File with the authority that signed the server's certificate.
        type: path
  openbao:
    description:
      - How tenants reach OpenBao. Without it they have no store.
      - All tenants of a cluster share one OpenBao policy and one role, which M(hackspace.infra.jwt_reviewer) keeps, so that
        nothing is sent to OpenBao for a tenant. What cuts a tenant off is that its ServiceAccount goes.
    type: dict
    suboptions:
      server:
        description: Address of OpenBao as the cluster sees it.
        type: str
        required: true
      mount:
        description: Auth mount of the cluster. By default C(kubernetes-) and the name of the cluster.
        type: str
      audience:
        description: Audience of the tokens. By default C(openbao-) and the name of the cluster.
        type: str
      ca_bundle:
        description: Text of the authority that signed the certificate of OpenBao.
        type: str
      kv_mount:
        description: KV version 2 engine with the tenants' OpenBao secrets.
        type: str
        default: kv
      kv_prefix:
        description: Path in it, before cluster and namespace.
        type: str
        default: tenants
      per_tenant:
        description: Tenants have a role C(tenant-<name>) each, which C(reviewer.access.per_tenant) in the inventory made.
        type: bool
        default: false
  tiers:
    description:
      - The table of namespace tiers, as C(platform_tiers), to look whether it agrees on the tenants' namespaces by their names,
        and for the ceiling of quotas.
    type: dict
    default: {base: default}
  flux_namespace:
    description: Where Flux runs.
    type: str
    default: flux-system
  label_domain:
    description: Domain of labels and annotations.
    type: str
    default: infra.hackspace.org
"""
