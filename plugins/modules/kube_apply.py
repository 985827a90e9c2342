#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: kube_apply
short_description: Apply a batch of Kubernetes objects server-side, and own them
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - Brings any number of objects of any kinds to the wanted state in one call, by server-side apply with the field
    manager C(hackspace.infra), in an order that works (namespaces, custom resource definitions, access rules,
    configuration, workloads, custom resources, webhooks).
  - Reads the present state by lists, so that the number of requests of a run that changes nothing depends on the
    number of kinds, not of objects. Only objects that seem to differ are sent to the server as a dry run; its answer
    decides, and is the diff.
  - Remembers what it made in a ConfigMap (the ownership record) and by a label, so that what is no longer wanted can
    be pruned and what belongs to somebody else is left alone.
  - Everything is checked, and dry-run by the server, before the first write. A run that is cut off is finished by the
    next one.
notes:
  - Run it on the controller, with C(connection=local) or C(delegate_to=localhost); manifests and kubeconfig are files
    there.
  - "An encrypted kubeconfig can be given as data:
    C({{ lookup('ansible.builtin.file', 'kubeconfig.vault') | from_yaml }})."
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - hackspace.infra._kube
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_kube
  - hackspace.infra._attributes.ownership
options:
  objects:
    description:
      - The wanted objects. A C(kind=List) is taken apart.
      - Values of Kubernetes Secrets are never shown.
    type: list
    elements: dict
    default: []
  manifests:
    description:
      - Files with wanted objects, each with one or more YAML documents, from the controller or from the web.
      - They are read whole, checked and parsed before anything is sent to the cluster. Larger ones than 32 MiB are
        refused.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path of the file on the controller. Either this or O(manifests[].url).
        type: path
      url:
        description:
          - Address of the file. It is https, or http on loopback. Redirects may lead to such addresses only.
          - The certificate is checked with the authorities of the system, or those of O(manifests[].ca_file). Proxies
            of the environment are not used.
        type: str
      ca_file:
        description: PEM file with the authorities of O(manifests[].url).
        type: path
      sha256:
        description: Refuse the file unless it has this checksum. Required with O(manifests[].url).
        type: str
  inventory:
    description: Under which name the objects are owned.
    type: dict
    required: true
    suboptions:
      name:
        description: Name of the inventory, unique in the cluster. It is the value of the ownership label.
        type: str
        required: true
      namespace:
        description:
          - Namespace of the ownership record, the ConfigMap C(hackspace-inventory-NAME).
          - It exists, or is among the objects.
        type: str
        required: true
  label_domain:
    description: Domain of the label C(DOMAIN/inventory) and of the annotations C(DOMAIN/applied) and C(DOMAIN/prune).
    type: str
    default: infra.hackspace.org
  default_namespace:
    description: Namespace of namespaced objects that name none. Without it they are an error.
    type: str
  force_conflicts:
    description:
      - Take over fields that another field manager has set to another value.
      - Without it the module fails and names the fields and their managers.
    type: bool
    default: false
  prune_protected:
    description:
      - Let O(prune) also delete Namespaces, CustomResourceDefinitions, PersistentVolumes and PersistentVolumeClaims,
        which take other objects or data along.
    type: bool
    default: false
  hidden_fields:
    description:
      - Further fields whose values are not to be shown, as paths such as V(/spec/values/password) or, for one kind,
        V(ConfigMap:/data/*). V(*) is any key or element, V(~1) a slash in a key.
    type: list
    elements: str
    default: []
  wait:
    description:
      - Wait until all objects are ready. Workloads are ready when they are rolled out, Jobs when they are completed,
        objects with a C(Ready) or C(Available) condition when it is true for their present generation, all others when
        they exist.
      - Fails at once when an object has failed for good (condition C(Stalled), progress deadline exceeded, failed Job).
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait, in all. Also the limit for a new CustomResourceDefinition to be served.
    type: int
    default: 300
seealso:
  - module: kubernetes.core.k8s
"""

EXAMPLES = r"""
- name: Apply two objects and own them as "greeting"
  hackspace.infra.kube_apply:
    kubeconfig: ~/.kube/core-infra
    inventory: {name: greeting, namespace: kube-system}
    objects:
      - apiVersion: v1
        kind: Namespace
        metadata: {name: greeting}
      - apiVersion: v1
        kind: ConfigMap
        metadata: {name: hello, namespace: greeting}
        data: {text: good morning}

- name: Install a pinned release, remove what it no longer has, and wait
  hackspace.infra.kube_apply:
    kubeconfig: ~/.kube/core-infra
    inventory: {name: flux, namespace: flux-system}
    manifests:
      - path: files/flux-2.9.4.yaml
        sha256: 3b1f6b1f0d5b6d1fd8c1c64a3cbf0f1f3f8d8a1c9f0f7d8a6a8f7b1c2d3e4f50
    prune: true
    wait: true

- name: Take over objects that were made by hand
  hackspace.infra.kube_apply:
    host: https://192.0.2.10:6443
    tls_server_name: kubernetes
    ca_cert: files/ca.crt
    api_key: "{{ token }}"
    inventory: {name: quotas, namespace: kube-system}
    objects: "{{ quotas }}"
    adopt: true
    force_conflicts: true
"""

RETURN = r"""
changes:
  description: One line per change, in the order of application.
  returned: success
  type: list
  elements: dict
  sample: [{kind: ConfigMap, name: greeting/hello, action: update, why: data.text}]
unchanged:
  description: Number of wanted objects that are as wanted.
  returned: success
  type: int
  sample: 12
foreign:
  description: Objects that belonged to somebody else, and to whom.
  returned: always when there are some
  type: list
  elements: str
  sample: ["ConfigMap greeting/hello (written by kubectl)"]
stale:
  description: Objects of the inventory that are no longer wanted and are kept, and why.
  returned: success
  type: list
  elements: str
  sample: ["ConfigMap greeting/old (prune is off)"]
waited:
  description: Objects that were not ready at first.
  returned: when O(wait) is set, outside check mode
  type: list
  elements: str
  sample: ["Deployment.apps greeting/web"]
requests:
  description: Number of requests sent to the API server.
  returned: success
  type: int
  sample: 6
conflicts:
  description: Fields that belong to another field manager.
  returned: on a conflict
  type: list
  elements: dict
  sample: [{field: spec.replicas, manager: kubectl-edit}]
refused:
  description: Every object that the server's dry run refused, if there are several.
  returned: on several refusals
  type: list
  elements: dict
not_ready:
  description: Every object that is not ready, and why.
  returned: when waiting failed
  type: list
  elements: str
would_delete:
  description: What pruning would delete.
  returned: when pruning is refused
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import (
    CONNECTION_SPEC,
    client_of,
    take_login,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.sources import (
    MANIFEST_OPTIONS,
    MANIFEST_RULES,
    read_manifests,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    OWNERSHIP,
    ArgumentSpec,
    mask_only,
    plan_result,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._kube import engine, model, redact
from ansible_collections.hackspace.infra.plugins.module_utils._kube.plan import Options

SPEC = CONNECTION_SPEC.merge(OWNERSHIP).merge(
    ArgumentSpec(
        options={
            # no_log keeps the objects out of the system's log; hide_objects() then says what exactly is to be hidden
            "objects": {"type": "list", "elements": "dict", "default": [], "no_log": True},
            "manifests": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": MANIFEST_OPTIONS,
                **MANIFEST_RULES,
            },
            "inventory": {
                "type": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "namespace": {"type": "str", "required": True},
                },
            },
            "label_domain": {"type": "str", "default": model.DEFAULT_LABEL_DOMAIN},
            "default_namespace": {"type": "str"},
            "force_conflicts": {"type": "bool", "default": False},
            "prune_protected": {"type": "bool", "default": False},
            "hidden_fields": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "wait": {"type": "bool", "default": False},
            "wait_timeout": {"type": "int", "default": 300},
        }
    )
)

#: Shorter secrets are hidden where they are known to stand, but not wherever their letters occur.
_MASKED_LENGTH = 6


def hide_objects(
    module: AnsibleModule,
    login_secrets: t.Collection[str],
    sources: t.Iterable[model.Source],
    rules: t.Sequence[redact.Rule],
) -> None:
    """Hide the secret values of the login and of *sources* in all that the module prints, and nothing else of them."""
    secrets = set(login_secrets)
    for source in model.expand(sources):
        secrets |= redact.values(source.body, _paths(source.body, rules))
    mask_only(module, secrets, least=_MASKED_LENGTH)


def _paths(body: t.Any, rules: t.Sequence[redact.Rule]) -> tuple[redact.Path, ...]:
    kind = str(body.get("kind") or "") if isinstance(body, dict) else ""
    return redact.paths_for(rules, kind=kind, secret=kind == "Secret")


def main(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    given = [model.Source(body, f"objects[{index}]") for index, body in enumerate(params["objects"])]
    # First of all, and before anything can fail: the arguments are part of every result.
    shown = redact.shown_objects(params["objects"], params["hidden_fields"])
    params["objects"] = shown
    login, login_secrets = take_login(params)
    rules = redact.parse_rules(params["hidden_fields"])
    sources = given + read_manifests(params["manifests"], timeout=params["request_timeout"])
    hide_objects(module, login_secrets, sources, rules)
    request = engine.Request(
        sources=sources,
        inventory=model.Inventory(
            params["inventory"]["name"], params["inventory"]["namespace"], params["label_domain"]
        ),
        options=Options(
            adopt=params["adopt"],
            prune=params["prune"],
            prune_max_percent=params["prune_max_percent"],
            prune_protected=params["prune_protected"],
            force_conflicts=params["force_conflicts"],
        ),
        default_namespace=params["default_namespace"],
        hidden_fields=params["hidden_fields"],
    )
    timeout = float(params["wait_timeout"])
    extra: dict[str, t.Any] = {}
    with client_of(login) as api:
        planned = engine.make_plan(api, request)
        if not module.check_mode:
            engine.execute(api, planned, timeout=timeout)
            if params["wait"]:
                known = None if planned.plan.changed else planned.current.live
                extra["waited"] = engine.wait_ready(api, planned, planned.wanted, timeout=timeout, known=known)
        extra["requests"] = api.requests
    return plan_result(module, planned.plan, stale=planned.stale, **extra)


if __name__ == "__main__":
    run(SPEC, main)
