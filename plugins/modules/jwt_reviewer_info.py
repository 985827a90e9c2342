#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: why ServiceAccounts of a downstream cluster cannot log in to OpenBao."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jwt_reviewer_info
short_description: The first broken hop between a ServiceAccount and its OpenBao secret, and its fix
version_added: 0.1.0
author: hackspace.infra contributors (@hackspace)
description:
  - OpenBao answers most failed logins of Kubernetes ServiceAccounts with a bare C(permission denied). This module
    walks the way that such a login takes, hop by hop, and names the first one that is broken, the reason and the fix.
  - The hops are C(openbao), C(name), C(tcp), C(tls), C(access), C(clock), C(token), C(rbac), C(client), C(review),
    C(mount), C(config), C(role), C(policy), C(login) and C(read). With O(clusters[].mode=jwt_pubkeys) those on the way
    back to the API server are left out.
  - All clusters are looked at together, each for at most O(budget) seconds, whether they answer or not.
  - Takes the options of M(hackspace.infra.jwt_reviewer), so that the same list of clusters can be given to both.
  - A broken hop never makes this module fail; wrong input does.
extends_documentation_fragment:
  - hackspace.infra._attributes
  - hackspace.infra._attributes.info
  - hackspace.infra._reviewers
options:
  tenants:
    description:
      - Whose way to follow, at most one for each cluster. For a cluster that is not named it is that of the canary.
    type: list
    elements: dict
    default: []
    suboptions:
      cluster:
        description: Name of the cluster in O(clusters).
        type: str
        required: true
      namespace:
        description: Namespace of the ServiceAccount.
        type: str
        required: true
      service_account:
        description:
          - Name of the ServiceAccount. The first of O(clusters[].access.service_accounts) by default.
        type: str
      role:
        description:
          - Role of the auth mount to log in to. The one that O(clusters[].access) has for the namespace by default.
        type: str
      secret:
        description:
          - Name of the OpenBao secret to read, below the namespace's path. It does not have to exist, and its content
            is not looked at.
        type: str
        default: doctor
  login:
    description:
      - Log in to OpenBao as the ServiceAccount, and read. For that, a token of it and a token of the reviewer are
        requested, each valid for ten minutes; nothing is created in the cluster. OpenBao remembers the login as an
        identity alias, as it does every login.
      - With V(false) no token is requested, and what only a login can show is left out.
    type: bool
    default: true
  request_timeout:
    description: Seconds to wait for a connection and for each answer, of API servers and of OpenBao.
    type: float
    default: 2.0
  budget:
    description: Seconds for each cluster. What was not answered by then is named as too slow.
    type: float
    default: 4.5
"""

EXAMPLES = r"""
- name: Look at all downstream clusters
  hackspace.infra.jwt_reviewer_info:
    openbao:
      url: https://192.0.2.11:8200
      tls_server_name: openbao.example.org
      ca_cert: openbao-ca.pem
      auth_method: userpass
      username: ada
      password_file: ~/.openbao-password
    clusters:
      - {name: member-prod, kubeconfig: ~/.kube/member-prod}
      - {name: member-lab, kubeconfig: ~/.kube/member-lab}
  register: doctor

- name: Why does the SecretStore of alice not get ready
  hackspace.infra.jwt_reviewer_info:
    openbao: {url: "https://192.0.2.11:8200", token_path: ~/.openbao-token, ca_cert: openbao-ca.pem}
    clusters:
      - {name: member-prod, kubeconfig: ~/.kube/member-prod}
    tenants:
      - {cluster: member-prod, namespace: 4-aux-alice, service_account: eso}
  register: alice

- name: Show it
  ansible.builtin.debug:
    var: alice.clusters[0].broken
"""

RETURN = r"""
clusters:
  description: The clusters in the order of O(clusters).
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name of the cluster.
      type: str
      sample: member-prod
    mode:
      description: Mode of the reviewer.
      type: str
      sample: token_request
    mount:
      description: Its auth mount.
      type: str
      sample: kubernetes-member-prod
    api_server:
      description: Address of the API server as OpenBao is to reach it.
      type: str
      sample: https://192.0.2.21:6443
    client:
      description: Namespace and name of the ServiceAccount whose way was followed.
      type: str
      sample: 4-aux-alice/eso
    healthy:
      description: Whether no hop is broken.
      type: bool
    broken:
      description: The first broken hop; V(none) if there is none.
      type: dict
      contains:
        hop:
          description: Name of the hop.
          type: str
          sample: rbac
        cause:
          description: What is wrong with it, as a name that does not change; the guide lists them.
          type: str
          sample: rbac
        reason:
          description: What is wrong with it, one sentence.
          type: str
          sample: ServiceAccount 0-core-openbao-auth/openbao-reviewer may not create TokenReviews.
        fix:
          description: What to do about it, one sentence.
          type: str
    doubts:
      description: What looked wrong on the way although a login and a read work.
      type: list
      elements: str
    hops:
      description: Every hop in its order.
      type: list
      elements: dict
      contains:
        hop:
          description: Name of the hop.
          type: str
          sample: tls
        status:
          description: V(ok), V(broken), V(skipped) or V(not reached).
          type: str
          sample: ok
        detail:
          description: What was seen.
          type: str
        ms:
          description: Milliseconds that it took.
          type: int
    reviewer:
      description: The reviewer's token; V(none) for modes without one.
      type: dict
      contains:
        service_account:
          description: Namespace and name of the ServiceAccount.
          type: str
          sample: 0-core-openbao-auth/openbao-reviewer
        secret:
          description: Name of the Secret that the token is bound to; V(none) if there is none.
          type: str
          sample: openbao-reviewer-member-prod-3
        expires_at:
          description: When the token ends, in UTC; V(none) if nobody knows.
          type: str
          sample: "2026-12-21T08:00:00Z"
        seconds_left:
          description: Seconds until then, by the API server's clock; V(none) if nobody knows.
          type: int
          sample: 2591990
    seconds:
      description: How long this cluster took.
      type: float
      sample: 0.12
findings:
  description: The same for reports, the most severe first.
  type: list
  elements: dict
  returned: always
  contains:
    id:
      description: Name of the finding.
      type: str
      sample: reviewer-rbac
    severity:
      description: V(error) or V(warning).
      type: str
      sample: error
    item:
      description: What it is about.
      type: str
      sample: reviewer of member-prod
    message:
      description: What is the case.
      type: str
    fix:
      description: What to do about it.
      type: str
"""

import concurrent.futures
import contextlib
import threading
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import OpenBao
from ansible_collections.hackspace.infra.plugins.module_utils._clients.reviewer_links import (
    JOINED_SPEC,
    open_cluster,
    open_openbao,
    with_files,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.tls_way import Way, fingerprints
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, hide, run
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.doctor import (
    Common,
    Doctor,
    Ports,
    check_seconds,
    parse_tenants,
    read_common,
    target_of,
)
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.doctor_report import findings, result
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.model import (
    Cluster,
    Settings,
    completed,
    parse,
)

#: Clusters that are looked at at once; each takes up to three threads.
WORKERS: t.Final = 16

SPEC = ArgumentSpec(
    options={
        **JOINED_SPEC.options,
        "tenants": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "cluster": {"type": "str", "required": True},
                "namespace": {"type": "str", "required": True},
                "service_account": {"type": "str"},
                "role": {"type": "str"},
                "secret": {"type": "str", "default": "doctor", "no_log": False},
            },
        },
        "login": {"type": "bool", "default": True},
        "request_timeout": {"type": "float", "default": 2.0},
        "budget": {"type": "float", "default": 4.5},
    }
)


class _Server:
    """OpenBao, asked by many threads: what holds for all clusters is read once, by the first that wants it."""

    def __init__(self, params: t.Mapping[str, t.Any], timeout: float) -> None:
        limited = {**params, "timeout": min(float(params.get("timeout") or timeout), timeout), "retries": 0}
        self._own = open_openbao(limited)
        self._lock = threading.Lock()
        self._common: Common | None = None
        self._opened: list[OpenBao] = []

    def common(self) -> Common:
        """Return what holds for all clusters."""
        with self._lock:
            if self._common is None:
                self._common = read_common(self._own)
            return self._common

    def bao(self) -> OpenBao:
        """Return a connection with the doctor's login."""
        with self._lock:
            return self._keep(self._own.clone())

    def visitor(self) -> OpenBao:
        """Return a connection without a login."""
        with self._lock:
            return self._keep(OpenBao(self._own.connection))

    def _keep(self, client: OpenBao) -> OpenBao:
        self._opened.append(client)
        return client

    def close(self) -> None:
        """Give the doctor's own login back and close all connections."""
        with contextlib.suppress(HackspaceError):
            for client in self._opened:
                client.close()
            self._own.close()


def main(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    """Look, judge, report."""
    params = module.params
    for raw in params["clusters"]:
        hide(module, raw.get("kubeconfig_content"))
    check_seconds(params)
    settings, clusters = parse({**params, "clusters": with_files(params["clusters"])})
    tenants = parse_tenants(params["tenants"], [cluster.name for cluster in clusters])
    timeout = float(params["request_timeout"])
    with contextlib.ExitStack() as stack:
        server = _Server(params["openbao"], timeout)
        stack.callback(server.close)
        doctors = []
        for cluster in clusters:
            kube = stack.enter_context(open_cluster(cluster, timeout=timeout))
            whole = completed(cluster, server=kube.host, ca_pem=kube.ca_pem())
            way = Way(whole.api_server, whole.ca_pem, timeout=timeout)
            ports = Ports(kube, way, server.common, server.bao, server.visitor, fingerprints)
            doctors.append((whole, ports))
        if not doctors:
            return {"changed": False, "clusters": [], "findings": []}
        with concurrent.futures.ThreadPoolExecutor(min(WORKERS, len(doctors))) as threads:
            found = list(
                threads.map(
                    lambda one: _examined(one[0], one[1], settings, params, tenants.get(one[0].name)),
                    doctors,
                )
            )
    order = {"error": 0, "warning": 1}
    every = sorted((f for _result, some in found for f in some), key=lambda f: (order[f["severity"]], f["item"]))
    return {"changed": False, "clusters": [one for one, _findings in found], "findings": every}


def _examined(
    cluster: Cluster,
    ports: Ports,
    settings: Settings,
    params: t.Mapping[str, t.Any],
    tenant: t.Mapping[str, t.Any] | None,
) -> tuple[dict[str, t.Any], list[dict[str, str]]]:
    started = time.monotonic()
    target = target_of(cluster, settings, fingerprints, login=params["login"], tenant=tenant)
    seen = Doctor(target, cluster, settings, ports, budget=float(params["budget"])).examine()
    return result(target, seen, seconds=time.monotonic() - started), findings(target, seen)


if __name__ == "__main__":
    run(SPEC, main)
