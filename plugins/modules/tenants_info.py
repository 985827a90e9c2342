#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: tenants_info
short_description: Show how the tenants of a cluster fare, and prove that they are confined
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - Compares a cluster with the declarations of its tenants, reads what Flux says of each, and reports per tenant.
  - With O(probe=true) it proves that tenants are confined. As the ServiceAccount with which Flux acts for the tenant
    it asks the API server what it may do, and lets it try by dry runs. It must be able to do what it needs. It must not
    read neighbours' secrets, make cluster-scoped objects, refer to sources of other namespaces, take a foreign domain,
    or move to another namespace tier.
  - With O(probe_openbao) as well, it logs in at OpenBao with tokens of the tenant's own ServiceAccounts. Its own path
    must be readable, paths of neighbours and of other clusters must not, and Flux's ServiceAccount must not log in.
notes:
  - Run it on the controller, with C(connection=local) or C(delegate_to=localhost).
  - The probe sends about sixty requests for each namespace, and needs a login that may impersonate. With
    O(probe_openbao) there are about ten more to OpenBao, and the login must be allowed to request tokens of the
    tenants' ServiceAccounts. Tokens are revoked and never returned.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - hackspace.infra._kube
  - hackspace.infra._attributes
  - hackspace.infra._attributes.info
  - hackspace.infra._attributes.actiongroup_kube
  - hackspace.infra._tenants
options:
  only:
    description: Report these tenants only.
    type: list
    elements: str
    default: []
  probe:
    description: Prove that tenants are confined.
    type: bool
    default: false
  probe_openbao:
    description:
      - Where the probe reaches OpenBao from here. Without it OpenBao is not asked.
      - Mount, role, audience and paths come from O(openbao).
    type: dict
    suboptions:
      url:
        description: Address of the server, C(https://host:port).
        type: str
        required: true
      ca_cert:
        description: File with the authority that signed the server's certificate; by default those of the system.
        type: path
      tls_server_name:
        description: Name to expect in the server's certificate, if it is not the host of the address.
        type: str
      namespace:
        description: OpenBao namespace.
        type: str
      audiences:
        description: Further audiences of the tokens; where reviewers have the mode V(client_jwt), the cluster's issuer.
        type: list
        elements: str
        default: []
      timeout:
        description: Seconds to wait for each answer.
        type: float
        default: 10.0
  require_confined:
    description: Fail if a tenant is not confined.
    type: bool
    default: true
  inventory:
    description: Name under which the objects are owned.
    type: str
    default: tenants
  inventory_namespace:
    description: Namespace of the ownership record.
    type: str
    default: kube-system
seealso:
  - module: hackspace.infra.tenants
"""

EXAMPLES = r"""
- name: How do the tenants fare?
  hackspace.infra.tenants_info:
    kubeconfig: ~/.kube/member-prod
    cluster: member-prod
    platform: "{{ platform_tenants }}"
    directory: ~/tenants/tenants
  register: fare

- name: Prove that nobody can do more than they should
  hackspace.infra.tenants_info:
    kubeconfig: ~/.kube/member-prod
    cluster: member-prod
    platform: "{{ platform_tenants }}"
    directory: ~/tenants/tenants
    probe: true

- name: Prove it in OpenBao too
  hackspace.infra.tenants_info:
    kubeconfig: ~/.kube/member-prod
    cluster: member-prod
    platform: "{{ platform_tenants }}"
    directory: ~/tenants/tenants
    openbao:
      server: https://openbao.openbao.svc:8200
    probe: true
    probe_openbao:
      url: https://192.0.2.10:8200
      tls_server_name: openbao.example.org
      ca_cert: ~/platform/openbao-ca.crt
"""

RETURN = r"""
tenants:
  description: Every tenant of this cluster.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the tenant.
      type: str
    state:
      description: What it is on the cluster - V(active), V(suspended), V(archived), or empty if it is not there.
      type: str
    suspended_by:
      description: V(declaration), V(membership), or empty.
      type: str
    namespaces:
      description: Its namespaces.
      type: list
      elements: str
    ready:
      description: Everything that the platform made for it is ready, and Flux has applied its repository.
      type: bool
    problems:
      description: What is not ready, what Flux says of it, and what to do where that is known.
      type: list
      elements: str
    drift:
      description: What the next run of M(hackspace.infra.tenants) would change.
      type: list
      elements: str
    revision:
      description: What Flux applied last, by namespace.
      type: dict
undeclared:
  description: Namespaces of tenants without a declaration, by tenant.
  returned: always
  type: dict
findings:
  description: What is wrong with the declarations, as the filter C(tenant_findings) returns it.
  returned: always
  type: list
  elements: dict
stale:
  description: Objects that are no longer wanted and are kept, and why.
  returned: always
  type: list
  elements: str
stray_hosts:
  description:
    - Hosts that Ingresses, routes and certificates of tenants are for and that are in no declaration of theirs
      (any more), each with C(tenant), C(namespace), C(kind), C(name) and C(host).
  returned: always
  type: list
  elements: dict
confinement:
  description:
    - Every question of the probe and its answer, with C(tenant), C(namespace), C(check), C(expected), C(got), C(why)
      and C(ok).
  returned: with O(probe=true)
  type: list
  elements: dict
confined:
  description: Every answer was right.
  returned: with O(probe=true)
  type: bool
requests:
  description: Number of requests sent to the API server.
  returned: always
  type: int
"""

import datetime
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients import tenant_files
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import CONNECTION_SPEC, client_of
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube_as import KubeProber
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import Connection, OpenBao
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import Refused, check
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import ArgumentSpec, program, run
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import Inventory
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import apply as applying
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import (
    info,
    probe,
    probe_openbao,
    published,
    site,
)

SPEC = CONNECTION_SPEC.merge(tenant_files.SPEC).merge(
    ArgumentSpec(
        options={
            "only": {"type": "list", "elements": "str", "default": []},
            "probe": {"type": "bool", "default": False},
            "probe_openbao": {
                "type": "dict",
                "options": {
                    "url": {"type": "str", "required": True},
                    "ca_cert": {"type": "path"},
                    "tls_server_name": {"type": "str"},
                    "namespace": {"type": "str"},
                    "audiences": {"type": "list", "elements": "str", "default": []},
                    "timeout": {"type": "float", "default": 10.0},
                },
            },
            "require_confined": {"type": "bool", "default": True},
            "inventory": {"type": "str", "default": "tenants"},
            "inventory_namespace": {"type": "str", "default": "kube-system"},
        }
    )
)


def _openbao(params: t.Mapping[str, t.Any]) -> OpenBao | None:
    """Return a connection to OpenBao without a login, if OpenBao is to be asked."""
    given = params["probe_openbao"]
    if not given:
        return None
    check(
        params["probe"] and params["openbao"],
        "needs probe: true, and openbao with mount and paths.",
        item="probe_openbao",
        rule="probe-openbao",
        fix="set both, or leave probe_openbao out.",
    )
    return OpenBao(
        Connection(
            url=given["url"],
            ca_cert=given["ca_cert"],
            tls_server_name=given["tls_server_name"] or None,
            namespace=given["namespace"] or None,
            timeout=given["timeout"],
        ).checked("probe_openbao.url")
    )


def main(module: AnsibleModule) -> dict[str, t.Any]:
    """Read, compare, and ask if told to."""
    params = module.params
    texts, _revision = tenant_files.read(params, program(module))
    here = site.of(params)
    read = site.read(texts, here, datetime.datetime.now(datetime.UTC).date())
    inventory = Inventory(params["inventory"], params["inventory_namespace"], params["label_domain"])
    only = frozenset(params["only"])
    bao = _openbao(params)
    with client_of(params) as api:
        applying.check_lockdown(api, params["flux_namespace"], here.profile.flux_account)
        found = info.look(api, read, here, inventory)
        unknown = sorted(only - found.names)
        check(
            not unknown,
            f"there is no tenant {', '.join(unknown)} on {here.cluster}.",
            item="only",
            rule="unknown-tenant",
            fix="correct the name.",
        )
        spaces = published.allowed(found.decided.wanted, found.decided.known, here.profile)
        kinds = (*published.INGRESSES, *published.ROUTES, *published.CERTIFICATES)
        strays, blind = published.look(api, spaces, kinds)
        for warning in published.unseen(blind):
            module.warn(warning)
        fare = published.told(found.report(), strays)
        result: dict[str, t.Any] = {
            "changed": False,
            "tenants": [one for one in fare if not only or one["name"] in only],
            "stray_hosts": [one.as_dict() for one in strays if not only or one.tenant in only],
            "undeclared": found.decided.undeclared,
            "findings": [one.as_dict() for one in found.decided.read.judged.findings],
            "stale": found.prepared.left.kept,
        }
        if params["probe"]:
            prober = KubeProber(api)
            outcomes: list[probe.Outcome] = []
            for subject in info.subjects(found, params["flux_namespace"], only):
                outcomes += probe.ask(prober, subject, probe.matrix(subject))
            if bao is not None:
                with bao:
                    given = params["probe_openbao"]
                    for visitor in info.visitors(found, only, given["audiences"]):
                        outcomes += probe_openbao.ask(bao, api, visitor)
            wrong = probe.summary(outcomes)
            result["confinement"] = [one.as_dict() for one in outcomes]
            result["confined"] = not wrong
            api.requests += prober.requests
            result["requests"] = api.requests
            if wrong and params["require_confined"]:
                lines = [f"{name}: {'; '.join(said)}" for name, said in wrong.items()]
                raise Refused(
                    " | ".join(lines[:10]),
                    item=f"tenant {next(iter(wrong))}" if len(wrong) == 1 else f"{len(wrong)} tenants",
                    rule="not-confined",
                    fix="run the module tenants; if it stays, look for other roles and bindings that allow it.",
                    data=result,
                )
        result["requests"] = api.requests
    return result


if __name__ == "__main__":
    run(SPEC, main)
