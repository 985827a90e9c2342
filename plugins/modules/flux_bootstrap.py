#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: flux_bootstrap
short_description: Install Flux from pinned manifests, locked down from the first apply
version_added: 0.1.0
author:
  - hackspace.infra contributors (@hackspace)
description:
  - Brings Flux into a cluster, or upgrades it, by server-side apply of the manifests of one release, pinned by sha256.
    Nothing is written to Git, and the program C(flux) is not needed.
  - Every controller gets the lockdown flags that it has, in the first apply, and the module fails unless those that
    run have them. Without them a tenant who may write a Kustomization is an administrator of the cluster.
  - Applies the Git credentials, the age key of SOPS, the GitRepository and the Kustomization C(flux-system), and waits
    until the cluster has applied the first revision.
  - Reads who owns Flux in the cluster and refuses to change what belongs to somebody else, to point to another
    repository or folder, to go back to an older version or to leave out a minor one.
  - Before lockdown is switched on in a living cluster, or its default ServiceAccount becomes another one, it lists the
    objects that would lose rights, and refuses until they are corrected or named in O(lockdown_accept).
  - Before CustomResourceDefinitions change, objects that may be stored in older versions are written again.
notes:
  - Run it on the controller, with C(connection=local) or C(delegate_to=localhost).
  - Files with secrets are read on the controller, decrypted in memory (ansible-vault, sops), in check mode as well.
  - Where Git holds the manifests of Flux (O(self_managed=true)) and Flux applies them, this module leaves them to Git,
    keeps the credentials, and checks the source and the lockdown.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - hackspace.infra._kube
  - hackspace.infra._attributes
  - hackspace.infra._attributes.actiongroup_kube
options:
  manifests:
    description: The manifests of a release, C(install.yaml), or what C(flux install --export) printed.
    type: dict
    required: true
    suboptions:
      path:
        description: File on the controller.
        type: path
      url:
        description: Address, by https; plain http on loopback only.
        type: str
      ca_file:
        description: PEM file with the authority of the server of O(manifests.url), if the system does not know it.
        type: path
      sha256:
        description: Checksum of the file. Nothing of a file with another one is used.
        type: str
        required: true
  namespace:
    description: Namespace of Flux.
    type: str
    default: flux-system
  components:
    description:
      - Controllers to install. V(source-controller) and V(kustomize-controller) are needed.
      - V(source-watcher) also switches its feature gate on in the others.
    type: list
    elements: str
    choices:
      - source-controller
      - kustomize-controller
      - helm-controller
      - notification-controller
      - image-reflector-controller
      - image-automation-controller
      - source-watcher
    default: [source-controller, kustomize-controller, helm-controller, notification-controller]
  registry:
    description: Registry and path of the images, if they are not to come from where the manifests say.
    type: str
    default: ""
  image_pull_secret:
    description: Name of a Kubernetes Secret in O(namespace) with the login to the registry.
    type: str
    default: ""
  cluster_domain:
    description: Domain of the cluster's Services.
    type: str
    default: cluster.local
  node_selector:
    description: Labels of the nodes on which the controllers may run, besides C(kubernetes.io/os=linux).
    type: dict
    default: {}
  tolerations:
    description: Tolerations of the controllers, as in a pod.
    type: list
    elements: dict
    default: []
  log_level:
    description: How much the controllers say.
    type: str
    choices: [debug, info, error]
    default: info
  network_policies:
    description: Apply the NetworkPolicies of the release.
    type: bool
    default: true
  default_service_account:
    description:
      - ServiceAccount that objects of Flux without one run as, in their own namespaces.
      - V(default) is refused, as pods without a ServiceAccount of their own have that one.
    type: str
    default: flux
  workload_identity:
    description:
      - Switch the feature gate C(ObjectLevelWorkloadIdentity) on, with the flags that lock it down.
      - Without it, the right to make tokens of any ServiceAccount, which only this gate needs, is taken from the
        controllers' role.
    type: bool
    default: false
  sync:
    description: The repository that the cluster follows. Without it only Flux itself is installed.
    type: dict
    suboptions:
      url:
        description: Address, C(https://host/path) or C(ssh://git@host/path). Plain http works on loopback only.
        type: str
        required: true
      path:
        description: The cluster's folder in the repository.
        type: str
        required: true
      branch:
        description: Branch. V(main) if nothing of V(branch), V(tag), V(semver), V(name) and V(commit) is given.
        type: str
      tag:
        description: Tag.
        type: str
      semver:
        description: Range of tags.
        type: str
      name:
        description: Name of a reference, as V(refs/heads/main).
        type: str
      commit:
        description: Commit, the whole hash.
        type: str
      interval:
        description: How often Flux looks for commits.
        type: str
        default: 1m0s
      kustomization_interval:
        description: How often Flux applies without a new commit.
        type: str
        default: 10m0s
      timeout:
        description: How long a fetch may take. Flux has a default of its own.
        type: str
      prune:
        description: Delete from the cluster what goes away in Git.
        type: bool
        default: true
      recurse_submodules:
        description: Fetch submodules too.
        type: bool
        default: false
  git_auth:
    description: How Flux logs in to the Git server.
    type: dict
    suboptions:
      method:
        description: V(ssh) goes with C(ssh://), the others with C(https://).
        type: str
        choices: [none, ssh, basic, bearer, github_app]
        default: none
      identity:
        description: Private key for V(ssh).
        type: str
      identity_file:
        description: File with O(git_auth.identity), plain with mode 0600 or encrypted.
        type: path
      identity_pub:
        description: Public key for V(ssh), for those who look at the Kubernetes Secret. Not needed.
        type: str
      known_hosts:
        description:
          - Lines of C(known_hosts) with the keys of the Git server, from its administrator. The server is never asked.
        type: str
      known_hosts_file:
        description: File with O(git_auth.known_hosts).
        type: path
      username:
        description: Name for V(basic). V(git) if it is not given.
        type: str
      password:
        description: Password or token for V(basic); for V(ssh) that of the private key.
        type: str
      password_file:
        description: File with O(git_auth.password), plain with mode 0600 or encrypted.
        type: path
      bearer_token:
        description: Token for V(bearer).
        type: str
      bearer_token_file:
        description: File with O(git_auth.bearer_token), plain with mode 0600 or encrypted.
        type: path
      ca_file:
        description:
          - PEM file with the authority of the Git server, for V(basic), V(bearer) and V(github_app), where it is
            also that of O(git_auth.base_url).
        type: path
      app_id:
        description: Number of the GitHub App.
        type: str
      installation_id:
        description: Number of its installation.
        type: str
      installation_owner:
        description: Owner of its installation, instead of the number.
        type: str
      private_key:
        description: Private key of the GitHub App, of RSA as GitHub makes it.
        type: str
      private_key_file:
        description: File with O(git_auth.private_key), plain with mode 0600 or encrypted.
        type: path
      base_url:
        description:
          - Whole address of the API of a GitHub Enterprise server, C(https://host/api/v3). Flux asks exactly there, and
            adds nothing to it.
        type: str
  age_key:
    description: The age key with which this cluster decrypts what sops encrypted in Git.
    type: str
  age_key_file:
    description: File with O(age_key), plain with mode 0600 or encrypted.
    type: path
  self_managed:
    description:
      - Git holds the manifests of Flux too. They are applied here once; as soon as Flux applies them itself, they are
        left to Git. The fields that were applied here are handed over (C(--override-manager)).
    type: bool
    default: false
  lockdown_accept:
    description: Objects that may lose rights when lockdown is switched on, as V(Kustomization apps/web).
    type: list
    elements: str
    default: []
  allow_repoint:
    description:
      - Let the cluster follow another repository, reference or folder than it does. With pruning, Flux deletes what is
        not there.
    type: bool
    default: false
  adopt:
    description:
      - Become the owner of a Flux that was installed by C(flux install), C(kubectl) or Helm, or by the operator once
        that is told to leave it alone, and of objects of these names that are not marked as ours.
      - Never takes Flux from Git.
    type: bool
    default: false
  force_conflicts:
    description: Take over fields that another field manager has set to another value.
    type: bool
    default: false
  prune:
    description: Delete what an earlier run applied and is no longer wanted, as a component that was left out.
    type: bool
    default: false
  prune_max_percent:
    description: Refuse to prune more than this share, in percent. One object may always go.
    type: int
    default: 20
  label_domain:
    description: Domain of the ownership label and of the annotations.
    type: str
    default: infra.hackspace.org
  wait:
    description:
      - V(components) waits until the controllers run, V(sync) also until the first revision is applied.
      - V(none) judges the lockdown by the Deployments only, not by the pods.
    type: str
    choices: [none, components, sync]
    default: sync
  wait_timeout:
    description: Seconds to wait, in all.
    type: int
    default: 300
seealso:
  - module: hackspace.infra.kube_apply
  - plugin: hackspace.infra.flux_components
    plugin_type: filter
  - plugin: hackspace.infra.flux_lockdown_findings
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Flux on member-prod, by a deploy key
  hackspace.infra.flux_bootstrap:
    kubeconfig: ~/.kube/member-prod
    manifests:
      path: files/flux-2.9.4.yaml
      sha256: 3b1f6b1f0d5b6d1fd8c1c64a3cbf0f1f3f8d8a1c9f0f7d8a6a8f7b1c2d3e4f50
    sync:
      url: ssh://git@git.example.org/hackspace/clusters
      path: ./clusters/member-prod
    git_auth:
      method: ssh
      identity_file: secrets/flux-member-prod.vault
      known_hosts_file: files/git.example.org.known_hosts
    age_key_file: secrets/age-member-prod.vault

- name: See what would change
  hackspace.infra.flux_bootstrap:
    kubeconfig: ~/.kube/member-prod
    manifests: "{{ flux_manifests }}"
    sync: "{{ flux_sync }}"
  check_mode: true
  diff: true

- name: Only the controllers, from a mirror
  hackspace.infra.flux_bootstrap:
    kubeconfig: ~/.kube/member-prod
    manifests: "{{ flux_manifests }}"
    registry: registry.example.org/fluxcd
    image_pull_secret: registry
    components: [source-controller, kustomize-controller]
    wait: components
"""

RETURN = r"""
changes:
  description: One line per change, in the order of application.
  returned: success
  type: list
  elements: dict
  sample: [{kind: Deployment, name: flux-system/source-controller, action: create, why: ""}]
unchanged:
  description: Number of wanted objects that are as wanted.
  returned: success
  type: int
  sample: 33
foreign:
  description: Objects that belonged to somebody else, and to whom.
  returned: always when there are some
  type: list
  elements: str
stale:
  description: Objects that are no longer wanted and are kept, and why.
  returned: success
  type: list
  elements: str
owner:
  description:
    - Who owned Flux before the run, C(kind) (V(none), V(ours), V(git), V(helm), V(operator), V(plain)), the same in
      C(words), and C(version) of what was there.
  returned: success
  type: dict
  sample: {kind: ours, words: this role (inventory flux), version: 2.9.3}
version:
  description: Version of Flux in the manifests.
  returned: success
  type: str
  sample: 2.9.4
components_applied:
  description: Whether Flux itself was applied here, and not left to Git.
  returned: success
  type: bool
migrated:
  description: Number of objects that were written again, by CustomResourceDefinition.
  returned: success, outside check mode
  type: dict
  sample: {kustomizations.kustomize.toolkit.fluxcd.io: 4}
lockdown:
  description: What runs and is not locked down, with C(item), C(controller), C(flag), C(message) and C(fix).
  returned: in check mode, of the cluster as it is; and when the run failed for it
  type: list
  elements: dict
losses:
  description: Objects that lose rights by lockdown, with C(name), C(why) and C(fix).
  returned: when there are some
  type: list
  elements: dict
repoint:
  description: What would point somewhere else.
  returned: when that is refused
  type: list
  elements: str
revision:
  description: Revision of the repository that the cluster has applied.
  returned: with O(wait=sync) and O(sync), outside check mode
  type: str
  sample: main@sha1:3f0c5f5a1d9f0e6a7b1f5f0ce8a2f8d1c0a7e9b4
waited:
  description: Objects that were not ready at first.
  returned: success, outside check mode
  type: list
  elements: str
not_ready:
  description: Every object that is not ready, and why.
  returned: when the controllers did not get ready
  type: list
  elements: str
objects:
  description:
    - The GitRepository or the Kustomization with state, cause, events and hint, as M(hackspace.infra.flux_wait) has it.
  returned: when the first revision was not applied
  type: list
  elements: dict
suspended:
  description: Which of both is suspended.
  returned: when one is
  type: list
  elements: str
refused:
  description: Every object that the server's dry run refused, if there are several.
  returned: on several refusals
  type: list
  elements: dict
conflicts:
  description: Fields that belong to another field manager.
  returned: on a conflict
  type: list
  elements: dict
would_delete:
  description: What pruning would delete.
  returned: when pruning is refused
  type: list
  elements: str
requests:
  description: Number of requests sent to the API server.
  returned: success
  type: int
  sample: 31
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hackspace.infra.plugins.module_utils._clients import sources
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import (
    CONNECTION_SPEC,
    client_of,
    take_login,
)
from ansible_collections.hackspace.infra.plugins.module_utils._clients.openbao import read_private_file
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput, check
from ansible_collections.hackspace.infra.plugins.module_utils._core.module import (
    OWNERSHIP,
    ArgumentSpec,
    hide,
    plan_result,
    run,
)
from ansible_collections.hackspace.infra.plugins.module_utils._flux import (
    bootstrap_apply,
    components,
    lockdown,
    model,
)
from ansible_collections.hackspace.infra.plugins.module_utils._flux.bootstrap_plan import Request
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import DEFAULT_LABEL_DOMAIN

#: Options with a secret, each with one that names a file instead.
SECRETS = ("identity", "password", "bearer_token", "private_key")

_AUTH: dict[str, dict[str, t.Any]] = {
    "method": {"type": "str", "choices": list(model.METHODS), "default": "none"},
    "identity": {"type": "str", "no_log": True},
    "identity_file": {"type": "path"},
    "identity_pub": {"type": "str"},
    "known_hosts": {"type": "str"},
    "known_hosts_file": {"type": "path"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "password_file": {"type": "path", "no_log": False},
    "bearer_token": {"type": "str", "no_log": True},
    "bearer_token_file": {"type": "path", "no_log": False},
    "ca_file": {"type": "path"},
    "app_id": {"type": "str"},
    "installation_id": {"type": "str"},
    "installation_owner": {"type": "str"},
    "private_key": {"type": "str", "no_log": True},
    "private_key_file": {"type": "path", "no_log": False},
    "base_url": {"type": "str"},
}

_SYNC: dict[str, dict[str, t.Any]] = {
    "url": {"type": "str", "required": True},
    "path": {"type": "str", "required": True},
    "branch": {"type": "str"},
    "tag": {"type": "str"},
    "semver": {"type": "str"},
    "name": {"type": "str"},
    "commit": {"type": "str"},
    "interval": {"type": "str", "default": "1m0s"},
    "kustomization_interval": {"type": "str", "default": "10m0s"},
    "timeout": {"type": "str"},
    "prune": {"type": "bool", "default": True},
    "recurse_submodules": {"type": "bool", "default": False},
}

SPEC = CONNECTION_SPEC.merge(OWNERSHIP).merge(
    ArgumentSpec(
        options={
            "manifests": {
                "type": "dict",
                "required": True,
                "options": {**sources.MANIFEST_OPTIONS, "sha256": {"type": "str", "required": True}},
                "mutually_exclusive": sources.MANIFEST_RULES["mutually_exclusive"],
                "required_one_of": sources.MANIFEST_RULES["required_one_of"],
            },
            "namespace": {"type": "str", "default": model.NAMESPACE},
            "components": {
                "type": "list",
                "elements": "str",
                "choices": [
                    "source-controller",
                    "kustomize-controller",
                    "helm-controller",
                    "notification-controller",
                    "image-reflector-controller",
                    "image-automation-controller",
                    "source-watcher",
                ],
                "default": list(model.DEFAULT_COMPONENTS),
            },
            "registry": {"type": "str", "default": ""},
            "image_pull_secret": {"type": "str", "default": "", "no_log": False},
            "cluster_domain": {"type": "str", "default": "cluster.local"},
            "node_selector": {"type": "dict", "default": {}},
            "tolerations": {"type": "list", "elements": "dict", "default": []},
            "log_level": {"type": "str", "choices": ["debug", "info", "error"], "default": "info"},
            "network_policies": {"type": "bool", "default": True},
            "default_service_account": {"type": "str", "default": lockdown.DEFAULT_SERVICE_ACCOUNT},
            "workload_identity": {"type": "bool", "default": False},
            "sync": {"type": "dict", "options": _SYNC},
            "git_auth": {
                "type": "dict",
                "options": _AUTH,
                "mutually_exclusive": [[name, f"{name}_file"] for name in (*SECRETS, "known_hosts")],
            },
            "age_key": {"type": "str", "no_log": True},
            "age_key_file": {"type": "path", "no_log": False},
            "self_managed": {"type": "bool", "default": False},
            "lockdown_accept": {"type": "list", "elements": "str", "default": []},
            "allow_repoint": {"type": "bool", "default": False},
            "force_conflicts": {"type": "bool", "default": False},
            "label_domain": {"type": "str", "default": DEFAULT_LABEL_DOMAIN},
            "wait": {"type": "str", "choices": ["none", "components", "sync"], "default": "sync"},
            "wait_timeout": {"type": "int", "default": 300},
        },
        mutually_exclusive=(("age_key", "age_key_file"),),
    )
)


def _public(path: str, item: str) -> str:
    """Return the text of a file without secrets."""
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read(sources.MAX_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or 'not text'}).",
            item=item,
            rule="file",
            fix="give an existing text file on the controller.",
        ) from None


def credentials(module: AnsibleModule) -> tuple[dict[str, t.Any], str]:
    """Return the Git credentials and the age key, with contents in place of files."""
    auth = {name: value for name, value in (module.params["git_auth"] or {}).items() if value}
    for name in SECRETS:
        path = auth.pop(f"{name}_file", None)
        if path:
            auth[name] = read_private_file(path, item=f"git_auth.{name}_file").reveal()
    if auth.get("known_hosts_file"):
        auth["known_hosts"] = _public(auth.pop("known_hosts_file"), "git_auth.known_hosts_file")
    if auth.get("ca_file"):
        auth["ca_cert"] = _public(auth.pop("ca_file"), "git_auth.ca_file")
    key = module.params["age_key"] or ""
    if module.params["age_key_file"]:
        key = read_private_file(module.params["age_key_file"], item="age_key_file").reveal()
    hide(module, key, *(auth.get(name) for name in SECRETS))
    return auth, key


def request_of(module: AnsibleModule) -> Request:
    """Return everything that is wanted, checked."""
    params = module.params
    auth, key = credentials(module)
    sync = model.Sync.parse(params["sync"]) if params["sync"] else None
    method = auth.get("method") or "none"
    check(
        sync or method == "none",
        "there are credentials and no repository.",
        item="git_auth",
        rule="git-auth-option",
        fix="give sync, or leave git_auth out.",
    )
    git = model.git_secret(auth, sync.url) if sync else {}
    if sync:
        sync = sync.with_credentials(secret=bool(git), github_app=method == "github_app", age=bool(key))
    age = model.age_secret(key) if key else {}
    rendering = model.Rendering(
        namespace=params["namespace"],
        components=tuple(params["components"]),
        registry=params["registry"],
        image_pull_secret=params["image_pull_secret"],
        cluster_domain=params["cluster_domain"],
        node_selector=params["node_selector"] or {},
        tolerations=params["tolerations"] or [],
        log_level=params["log_level"],
        network_policies=params["network_policies"],
        account=params["default_service_account"],
        workload_identity=params["workload_identity"],
    ).checked()
    found = sources.read_manifests([params["manifests"]], timeout=float(params["request_timeout"]))
    where = params["manifests"].get("path") or params["manifests"].get("url")
    return Request(
        release=components.release([one.body for one in found], where),
        rendering=rendering,
        sync=sync,
        git=git,
        age=age,
        self_managed=params["self_managed"],
        adopt=params["adopt"],
        allow_repoint=params["allow_repoint"],
        force_conflicts=params["force_conflicts"],
        prune=params["prune"],
        prune_max_percent=params["prune_max_percent"],
        accepted=frozenset(params["lockdown_accept"]),
        label_domain=params["label_domain"],
    )


def main(module: AnsibleModule) -> dict[str, t.Any]:
    """Plan, and outside check mode apply, wait and prove."""
    params = module.params
    login, secrets = take_login(params)
    hide(module, *secrets)
    request = request_of(module)
    extra: dict[str, t.Any] = {}
    with client_of(login) as api:
        made = bootstrap_apply.prepare(api, request)
        if module.check_mode:
            found = bootstrap_apply.running(api, request.rendering.namespace)
            judged = lockdown.judge(found, account=request.rendering.account)
            extra["lockdown"] = [one.as_dict() for one in judged]
        else:
            done = bootstrap_apply.execute(api, made, timeout=float(params["wait_timeout"]), until=params["wait"])
            extra |= {"waited": done.waited, "migrated": done.migrated}
            if done.revision:
                extra["revision"] = done.revision
        extra["requests"] = api.requests
    if made.losses:
        extra["losses"] = [one.as_dict() for one in made.losses]
    return plan_result(
        module,
        made.plan,
        stale=made.stale,
        owner={"kind": made.owner.kind, "words": made.owner.words, "version": made.owner.version},
        version=request.release.version,
        components_applied=made.components,
        **extra,
    )


if __name__ == "__main__":
    run(SPEC, main)
