#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_components
short_description: Install what a cluster needs before Flux runs, from pinned manifests, in order
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - Applies components - network, storage, External Secrets, Kyverno, OpenBao and others - from manifests that are
    pinned by their sha256, each after what it needs, and waits until the next may come.
  - Reads and checks all manifests, and plans all components, before the first is applied. What comes with a kind or a
    namespace that an earlier component of the same call makes is planned from its manifest.
  - Applies server-side, as M(hackspace.infra.kube_apply) does, with one ownership record for each component.
  - Leaves a component alone that Flux has taken over, and says so.
notes:
  - Run it on the controller, with C(connection=local) or C(delegate_to=localhost); manifests and kubeconfig are files
    there.
  - A component that is taken out of the list stays in the cluster as it is.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - hackspace.infra._kube
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_kube
  - hackspace.infra._attributes.ownership
options:
  components:
    description:
      - The components of this cluster. They are applied in this order, except that what others need comes first.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the component. Its ownership record is C(platform-NAME).
        type: str
        required: true
      preset:
        description:
          - Known component whose namespace, needs and conditions to wait for are taken where none are given.
          - One of V(cni), V(cilium), V(flannel), V(csi), V(ceph-csi), V(rook), V(kyverno), V(external-secrets) and
            V(openbao). By default that of the same name as the component, if there is one.
        type: str
      version:
        description: Version, for reports. It also stands for C({version}) in O(components[].manifests[].path) and
          O(components[].manifests[].url).
        type: str
      manifests:
        description: Files with objects, each pinned.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Path of the file on the controller. Either this or O(components[].manifests[].url).
            type: path
          url:
            description: Address of the file, https, or http on loopback. Larger files than 32 MiB are refused.
            type: str
          ca_file:
            description:
              - PEM file with the authorities of O(components[].manifests[].url), instead of those of the system.
            type: path
          sha256:
            description: Checksum of the file, as C(sha256sum) prints it. Required; another content is refused.
            type: str
      objects:
        description: Further objects, or all of them.
        type: list
        elements: dict
        default: []
      namespace:
        description:
          - Namespace of objects that name none. It is made if it does not exist and no manifest brings it.
          - A namespace that somebody else has made is left as it is.
        type: str
      namespace_labels:
        description: Labels of O(components[].namespace), for components that need a Pod Security level of their own.
        type: dict
      needs:
        description: Names of components of this list that have to work before. Replaces the needs of the preset.
        type: list
        elements: str
      tls_secrets:
        description:
          - Kubernetes Secrets of the type C(kubernetes.io/tls), made from files before the component is applied.
          - The key is decrypted in the memory of this module. It is shown nowhere.
          - They have an ownership record of their own, and stay ours when Flux takes the component over.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the Kubernetes Secret.
            type: str
            required: true
          namespace:
            description: Its namespace, by default that of the component.
            type: str
          certificate_file:
            description: PEM file with the certificate, and those between it and the authority. Becomes C(tls.crt).
            type: path
            required: true
          key_file:
            description: PEM file with the encrypted key, readable by its owner only. Becomes C(tls.key).
            type: path
            required: true
          key_passphrase:
            description: Passphrase of the key.
            type: str
            required: true
          ca_file:
            description: PEM file with the authority. Becomes C(ca.crt).
            type: path
            required: true
      wait:
        description: When the next component may come. What is left out comes from the preset.
        type: dict
        suboptions:
          ready:
            description:
              - Which objects are waited for. V(all), or V(workloads) (Deployments, DaemonSets, StatefulSets, Jobs,
                APIServices), or V(none). CustomResourceDefinitions are always waited for.
              - Without a preset that says otherwise, V(workloads).
            type: str
            choices: [all, workloads, none]
          timeout:
            description: Seconds for this component.
            type: int
            default: 300
          crds:
            description: CustomResourceDefinitions that the component makes itself, as C(PLURAL.GROUP).
            type: list
            elements: str
          webhooks:
            description:
              - Names of webhook configurations that have to have an authority, and Services with ready endpoints.
            type: list
            elements: str
          probe:
            description:
              - An object that is dry-run until the webhooks that judge it answer. It is never made. That they refuse it
                is an answer, too.
              - An empty one takes the probe of the preset away.
            type: dict
  inventory_namespace:
    description: Namespace of the ownership records. It must exist.
    type: str
    default: kube-system
  label_domain:
    description: Domain of our labels and annotations.
    type: str
    default: infra.hackspace.org
  hand_over:
    description:
      - Give up our fields of the objects of components that Flux has taken over, and their ownership records, so that
        what is later taken out of Git goes away. What only we have set goes at once.
      - Not needed where kustomize-controller runs with C(--override-manager=hackspace.infra), but for the records.
    type: bool
    default: false
  force_conflicts:
    description:
      - Take over fields that another field manager has set to another value.
      - Without it the module fails and names the fields and their managers.
    type: bool
    default: false
  hidden_fields:
    description: Further fields whose values are not to be shown, as in M(hackspace.infra.kube_apply).
    type: list
    elements: str
    default: []
seealso:
  - module: hackspace.infra.kube_apply
"""

EXAMPLES = r"""
- name: Install External Secrets and Kyverno
  hackspace.infra.platform_components:
    kubeconfig: ~/.kube/member-prod
    components:
      - name: kyverno
        version: 1.19.1
        manifests:
          - url: https://github.com/kyverno/kyverno/releases/download/v{version}/install.yaml
            sha256: 3b1f6b1f0d5b6d1fd8c1c64a3cbf0f1f3f8d8a1c9f0f7d8a6a8f7b1c2d3e4f50
      - name: external-secrets
        version: 2.10.0
        manifests:
          - path: files/external-secrets-{version}.yaml
            sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

- name: Hand over to Flux what it has taken over
  hackspace.infra.platform_components:
    kubeconfig: ~/.kube/member-prod
    components: "{{ platform_components }}"
    hand_over: true
"""

RETURN = r"""
components:
  description:
    - For each component, in the order of application, C(name), C(version), C(state) (V(applied), V(as wanted),
      V(with Flux), V(handed over); in check mode V(to be applied), V(to be handed over)), C(changes) and C(unchanged).
    - If Flux has it, also C(flux) with C(owners), C(objects) (how many it has), C(held) (of how many of them fields are
      still ours) and C(left) (objects of the manifests that it does not have).
  returned: success
  type: list
  elements: dict
  sample: [{name: kyverno, version: 1.19.1, state: applied, changes: 91, unchanged: 0}]
changes:
  description: One line per change, in the order of application.
  returned: success
  type: list
  elements: dict
  sample: [{kind: Deployment, name: kyverno/kyverno-admission-controller, action: create, why: ""}]
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
stale:
  description: Objects of a component that are no longer in its manifests and are kept, and why.
  returned: success
  type: list
  elements: str
  sample: ["ClusterRole.rbac.authorization.k8s.io kyverno:old (prune is off)"]
waited:
  description: What was not ready at first.
  returned: outside check mode
  type: list
  elements: str
  sample: ["Deployment.apps kyverno/kyverno-admission-controller"]
requests:
  description: Number of requests sent to the API server.
  returned: success
  type: int
  sample: 31
component:
  description: The component that failed.
  returned: when applying or waiting failed
  type: str
  sample: kyverno
done:
  description: The components that were complete before.
  returned: when applying or waiting failed
  type: list
  elements: str
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

import datetime
import os
import stat
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import (
    CONNECTION_SPEC,
    HIDDEN,
    client_of,
    take_login,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.sources import (
    MANIFEST_OPTIONS,
    read_manifests,
    read_path,
)
from ansible_collections.hackspace.infra.plugins.module_utils._components import apply as applying
from ansible_collections.hackspace.infra.plugins.module_utils._components import model as components_model
from ansible_collections.hackspace.infra.plugins.module_utils._components import tls
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import check
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    OWNERSHIP,
    ArgumentSpec,
    mask_only,
    plan_result,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._kube import model, redact
from ansible_collections.hackspace.infra.plugins.module_utils._kube.plan import Options

SPEC = CONNECTION_SPEC.merge(OWNERSHIP).merge(
    ArgumentSpec(
        options={
            "components": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "preset": {"type": "str"},
                    "version": {"type": "str"},
                    "manifests": {"type": "list", "elements": "dict", "default": [], "options": MANIFEST_OPTIONS},
                    # no_log keeps the objects out of the system's log; main() then says what exactly is to be hidden
                    "objects": {"type": "list", "elements": "dict", "default": [], "no_log": True},
                    "namespace": {"type": "str"},
                    "namespace_labels": {"type": "dict"},
                    "needs": {"type": "list", "elements": "str"},
                    "tls_secrets": {
                        "type": "list",
                        "elements": "dict",
                        "default": [],
                        "no_log": False,
                        "options": {
                            "name": {"type": "str", "required": True},
                            "namespace": {"type": "str"},
                            "certificate_file": {"type": "path", "required": True},
                            "key_file": {"type": "path", "required": True},
                            "key_passphrase": {"type": "str", "required": True, "no_log": True},
                            "ca_file": {"type": "path", "required": True},
                        },
                    },
                    "wait": {
                        "type": "dict",
                        "options": {
                            "ready": {"type": "str", "choices": list(components_model.READY)},
                            "timeout": {"type": "int", "default": components_model.DEFAULT_TIMEOUT},
                            "crds": {"type": "list", "elements": "str"},
                            "webhooks": {"type": "list", "elements": "str"},
                            "probe": {"type": "dict"},
                        },
                    },
                },
            },
            "inventory_namespace": {"type": "str", "default": "kube-system"},
            "label_domain": {"type": "str", "default": model.DEFAULT_LABEL_DOMAIN},
            "hand_over": {"type": "bool", "default": False},
            "force_conflicts": {"type": "bool", "default": False},
            "hidden_fields": {"type": "list", "elements": "str", "default": [], "no_log": False},
        }
    )
)

#: Shorter secrets are hidden where they are known to stand, but not wherever their letters occur.
_MASKED_LENGTH = 6


def conceal(given: t.Sequence[t.MutableMapping[str, t.Any]], hidden_fields: t.Sequence[str]) -> set[str]:
    """Take what is secret out of the arguments, which are part of every result; return the passphrases."""
    secrets = set()
    for one in given:
        one["objects"] = redact.shown_objects(one.get("objects") or [], hidden_fields)
        for secret in one.get("tls_secrets") or ():
            secrets.add(str(secret.get("key_passphrase") or ""))
            secret["key_passphrase"] = HIDDEN
    return secrets - {""}


def read_secret(wanted: components_model.TlsSecret, item: str) -> model.Source:
    """Return a Kubernetes Secret made from files."""
    try:
        mode = stat.S_IMODE(os.stat(wanted.key_file).st_mode)
    except OSError:
        mode = 0o600  # reading says what is wrong
    check(
        not mode & 0o077,
        f"{wanted.key_file} has mode {mode:04o}; it must be readable by its owner only.",
        item=f"{item}.key_file",
        rule="secret-file-mode",
        fix=f"chmod 600 {wanted.key_file}",
    )
    return tls.secret(
        wanted,
        certificate=read_path(wanted.certificate_file, item=f"{item}.certificate_file"),
        key=read_path(wanted.key_file, item=f"{item}.key_file"),
        authority=read_path(wanted.ca_file, item=f"{item}.ca_file"),
        now=datetime.datetime.now(datetime.UTC),
        item=item,
    )


def main(module: AnsibleModule) -> dict[str, t.Any]:
    """Read, check and plan, and outside check mode apply."""
    params = module.params
    raw = [{**one, "tls_secrets": [dict(x) for x in one.get("tls_secrets") or ()]} for one in params["components"]]
    # First of all, and before anything can fail: the arguments are part of every result.
    passphrases = conceal(params["components"], params["hidden_fields"])
    login, secrets = take_login(params)
    mask_only(module, {*secrets, *passphrases}, least=_MASKED_LENGTH)
    wanted = components_model.parse(raw)
    objects: dict[str, list[model.Source]] = {}
    certificates: dict[str, list[model.Source]] = {}
    for one in wanted:
        given = [model.Source(body, f"{one.item}.objects[{index}]") for index, body in enumerate(one.objects)]
        item = f"{one.item}.manifests"
        objects[one.name] = read_manifests(one.manifests, timeout=params["request_timeout"], item=item) + given
        certificates[one.name] = [
            read_secret(secret, f"{one.item}.tls_secrets[{index}]") for index, secret in enumerate(one.tls)
        ]
    rules = redact.parse_rules(params["hidden_fields"])
    for sources in (*objects.values(), *certificates.values()):
        for source in model.expand(sources):
            kind = str(source.body.get("kind") or "") if isinstance(source.body, dict) else ""
            secrets |= redact.values(source.body, redact.paths_for(rules, kind=kind, secret=kind == "Secret"))
    mask_only(module, {*secrets, *passphrases}, least=_MASKED_LENGTH)
    request = applying.Request(
        components=wanted,
        objects=objects,
        tls=certificates,
        namespace=params["inventory_namespace"],
        label_domain=params["label_domain"],
        options=Options(
            adopt=params["adopt"],
            prune=params["prune"],
            prune_max_percent=params["prune_max_percent"],
            force_conflicts=params["force_conflicts"],
        ),
        hand_over=params["hand_over"],
        hidden_fields=params["hidden_fields"],
    )
    extra: dict[str, t.Any] = {}
    with client_of(login) as api:
        made = applying.prepare(api, request)
        if not module.check_mode:
            extra["waited"] = applying.execute(api, made)
        extra["requests"] = api.requests
    return plan_result(module, made.plan, stale=made.stale, components=made.report(done=not module.check_mode), **extra)


if __name__ == "__main__":
    run(SPEC, main)
