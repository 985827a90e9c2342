#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: jwt_reviewer
short_description: Lets the pods of downstream clusters log in to OpenBao, all clusters in one call
version_added: 0.1.0
description:
  - For each cluster keeps the reviewer downstream (namespace, ServiceAccount, a ClusterRole that may create
    TokenReviews and nothing else), a token of it that expires, the auth mount with its complete configuration, and
    the roles and OpenBao policies by which tenants log in and read their own OpenBao secrets.
  - OpenBao never shows the reviewer's token. What is known of it (expiry, fingerprint, CA, address) is written as
    annotations to the downstream Secret that the token is bound to, and nowhere else. A new token is minted and
    written with a complete configuration when less than O(renew_below) of its life is left, when configuration, CA or
    address differ, when the Secret or the ServiceAccount was deleted, and when OpenBao has lost it.
  - A configuration is never written without a token, as that would erase the one that OpenBao holds.
    C(disable_local_ca_jwt) is always true, so that OpenBao never sends its own pod's token to a downstream cluster.
  - The old token is revoked, by deleting its Secret, after a login with the new one has worked. A run that is killed
    anywhere leaves a state from which the next one finishes the work and leaves no token behind.
  - Clusters are handled at the same time. One that fails does not hold up the others; they are finished, and one
    error names each that failed and its hop (RV(failures)).
  - Mounts and OpenBao policies carry the mark of this module, Kubernetes objects its label. What exists without it is
    shown in RV(foreign) and nothing is written anywhere until O(adopt=true).
options:
  verify:
    description:
      - Prove by logins of the canary that it works. It must get in, must have the OpenBao policy of the tenants, and
        must be able to read its own namespace's OpenBao secrets and no other's. The wrong audience, ServiceAccount
        and namespace, and a token of another cluster in the list, must be refused.
      - V(on_change) does so for clusters where something was written. Where nothing was, the canary logs in once, and
        a new token is written if it is refused, as OpenBao may have lost the one it had.
      - V(always) does so at every run, V(never) not at all.
    type: str
    choices: [on_change, always, never]
    default: on_change
  renew_below:
    description: >-
      Part of its life, more than 0 and at most 1, below which the reviewer's token is replaced. V(1) replaces it at
      every run. A third by default.
    type: float
  adopt:
    description:
      - Take over auth mounts, OpenBao policies, ServiceAccounts, ClusterRoles and bindings that exist and are not
        marked as ours.
      - Without it they are shown in RV(foreign) and the module refuses to change anything.
      - Of what such a mount worked by before, only this goes after the new login has worked. Tokens without expiry of
        O(clusters[].namespace) and O(clusters[].service_account), and the tenants' part of bindings to
        C(system:auth-delegator). Other Secrets with such tokens are named in a warning and left alone.
      - Never taken over are auth mounts at the path of a mount with C(.next) or C(.old) at its end.
    type: bool
    default: false
  prune:
    description:
      - Delete what is ours and belongs to no cluster or tenant in the list, which is auth mounts, roles and OpenBao
        policies, and the entities and aliases of logins whose ServiceAccount or auth mount is gone.
      - An entity goes only if it is as a login made it. One that has a name of its own, metadata, OpenBao policies, a
        group or an alias that stays only loses the alias.
      - Downstream objects of clusters that are not in the list are left alone, as there is no kubeconfig for them.
    type: bool
    default: false
  keep:
    description:
      - Names of clusters that are not in the list and that O(prune=true) leaves alone, with their auth mounts, OpenBao
        policies and aliases.
    type: list
    elements: str
    default: []
  tenant_paths:
    description:
      - What the tenants of all clusters may use in other secret engines, beyond their own OpenBao secrets. It goes into
        the OpenBao policies of tenants, with the namespace of the login in it.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - Path with C({cluster}) and C({namespace}) in it, such as V(database/static-creds/{cluster}.{namespace}.*) or
            V(transit/encrypt/{cluster}.{namespace}). C(*) at the end stands for any characters.
          - Before and after both names there must be a dot, an underscore or a slash. Names of namespaces contain
            dashes, so that with a dash the namespace V(a) could use what is of V(a-b).
        type: str
        required: true
      capabilities:
        description: What they may do there.
        type: list
        elements: str
        default: [read]
  prune_max_percent:
    description:
      - Refuse to prune more than this share of what is ours, in percent, for each kind. One item may always go.
      - An empty list never prunes.
    type: int
    default: 20
attributes:
  check_mode:
    details:
      - Reads only; no token is minted and no login of the canary is tried. Where only such a login could tell that
        OpenBao has lost the reviewer's token, a warning says so.
  idempotent:
    details: With O(renew_below=1) a new token is written at every run.
notes:
  - The login to OpenBao needs C(read) on C(sys/auth), C(create, read, update, sudo) on C(sys/auth/*), and
    C(create, read, update, list) on C(auth/<mount>/*) and C(sys/policies/acl/*). To move a mount to a mode of another
    type also C(delete, sudo) on C(sys/auth/*), C(update, sudo) on C(sys/remount) and C(read) on
    C(sys/remount/status/*). For O(prune=true) also C(list) on C(sys/policies/acl), C(delete) on C(sys/auth/*),
    C(auth/<mount>/role/*) and C(sys/policies/acl/*), and C(list, read, delete) on C(identity/*).
  - Before it changes a cluster whose own audiences it has not noted yet, a run requests a ten-minute token of the
    ServiceAccount C(default) in the namespace C(default), which tells them. Where the login to the cluster may not do
    so, an O(clusters[].audience) that is among them is found only when the reviewer's token is requested.
  - C(long_lived) and C(client_jwt) mounts keep their tenants while they are moved to another mode.
seealso:
  - module: hackspace.infra.jwt_reviewer_info
  - module: hackspace.infra.openbao_auth_mounts
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._reviewers
author: hackspace.infra contributors (@hackspace)
"""

EXAMPLES = r"""
- name: Let two clusters log in
  hackspace.infra.jwt_reviewer:
    openbao:
      url: https://192.0.2.10:8200
      ca_cert: /etc/openbao/ca.pem
      auth_method: userpass
      username: platform-admin
      password_file: ~/.config/platform-admin
    clusters:
      - name: member-prod
        kubeconfig: ~/.kube/member-prod
        api_server: https://198.51.100.7:6443
        access:
          namespaces: ["3-edge-*", "4-aux-*"]
      - name: member-lab
        kubeconfig: ~/.kube/member-lab.vault
        token_lifetime: 7d
        access:
          find: true

- name: Show what would change, and take away what nobody needs
  hackspace.infra.jwt_reviewer:
    openbao: "{{ openbao_login }}"
    clusters: "{{ wired_clusters }}"
    prune: true
  check_mode: true
  diff: true
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in order.
  returned: success, or the part that was done when clusters failed
  type: list
  elements: dict
unchanged:
  description: Number of wanted things that are as wanted.
  returned: success
  type: int
foreign:
  description: What exists and is not marked as ours.
  returned: success or when refused
  type: list
  elements: str
clusters:
  description: One entry for each cluster, in the order of the list.
  returned: success or when clusters failed
  type: list
  elements: dict
  contains:
    name:
      description: Name of the cluster.
      type: str
    mode:
      description: Its mode.
      type: str
    mount:
      description: Path of its auth mount.
      type: str
    accessor:
      description: Accessor of the mount, null if there is none yet.
      type: str
    audience:
      description: Audience that a token needs.
      type: str
    api_server:
      description: Address at which OpenBao reaches the API server.
      type: str
    roles:
      description: Roles of the mount.
      type: list
      elements: str
    policies:
      description: OpenBao policies of the cluster.
      type: list
      elements: str
    reviewer:
      description: >-
        The token that OpenBao holds, by C(namespace), C(service_account), C(secret), C(expires_at), C(seconds_left)
        and
        C(fingerprint) (first 12 hex digits of the sha256). Null in modes without one.
      type: dict
    verified:
      description: Whether a login proved that it works. Null if none was tried.
      type: bool
    proved:
      description: What the logins proved.
      type: list
      elements: str
      sample: [login, policies, metadata, read, other-namespace-unreadable, lookup-self, wrong-namespace-refused]
    changed:
      description: Whether anything of this cluster changed.
      type: bool
    failed:
      description: Whether this cluster failed.
      type: bool
    hop:
      description: Where it failed, null if it did not.
      type: str
failures:
  description: Clusters that failed, each with C(cluster), C(hop), C(message) and C(status).
  returned: when clusters failed
  type: list
  elements: dict
requests:
  description: Number of requests sent to OpenBao and to API servers, without the one that ends the login.
  returned: success
  type: int
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.reviewer_links import (
    JOINED_SPEC,
    open_cluster,
    open_openbao,
    trust_problem,
    with_files,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    OWNERSHIP,
    ArgumentSpec,
    plan_result,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers import model
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.engine import Engine

SPEC = JOINED_SPEC.merge(OWNERSHIP).merge(
    ArgumentSpec(
        options={
            "verify": {"type": "str", "choices": ["on_change", "always", "never"], "default": "on_change"},
            "renew_below": {"type": "float"},
            "keep": {"type": "list", "elements": "str", "default": []},
            "tenant_paths": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "str", "required": True},
                    "capabilities": {"type": "list", "elements": "str", "default": ["read"]},
                },
            },
        }
    )
)


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = {**module.params, "clusters": with_files(module.params["clusters"])}
    settings, wanted = model.parse(params)
    links = []
    for cluster in wanted:
        kube = open_cluster(cluster, timeout=params["request_timeout"])
        links.append((model.completed(cluster, server=kube.host, ca_pem=kube.ca_pem()), kube))
    with open_openbao(params["openbao"]) as bao:
        engine = Engine(bao, links, settings, check=module.check_mode, clock=time.time, look=trust_problem)
        outcome = engine.run()
        return plan_result(module, outcome.plan, clusters=outcome.clusters, requests=outcome.requests)


if __name__ == "__main__":
    run(SPEC, main)
