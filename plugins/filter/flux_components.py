# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the manifests of a release of Flux as those of a cluster, locked down."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._core.errors import HackspaceError, InvalidInput
from ..module_utils._flux import components, lockdown, model
from ..module_utils._kube.model import MANAGER

DOCUMENTATION = r"""
name: flux_components
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: The manifests of a release of Flux as those of a cluster, locked down
description:
  - Takes the objects of the C(install.yaml) of a release, and returns those of a cluster, as C(flux install --export)
    and the patches of Flux' documentation for many tenants would.
  - Every controller gets the lockdown flags that it has. M(hackspace.infra.flux_bootstrap) applies the same objects;
    use this filter to write them into Git, or to look at them.
positional: _input
options:
  _input:
    description: The objects of the release, as C(from_yaml_all) returns them.
    type: list
    elements: dict
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
    default: [source-controller, kustomize-controller, helm-controller, notification-controller]
  registry:
    description: Registry and path of the images, if they are not to come from where the manifests say.
    type: str
    default: ""
  image_pull_secret:
    description: Name of a Kubernetes Secret with the login to the registry.
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
    description: Keep the NetworkPolicies of the release.
    type: bool
    default: true
  default_service_account:
    description: ServiceAccount that objects of Flux without one run as, in their own namespaces. V(default) is refused.
    type: str
    default: flux
  workload_identity:
    description: Switch the feature gate C(ObjectLevelWorkloadIdentity) on, with the flags that lock it down.
    type: bool
    default: false
  override_managers:
    description: Field managers whose fields Flux takes over. That of this collection, for a Flux that applies itself.
    type: list
    elements: str
    default: [hackspace.infra]
"""

EXAMPLES = r"""
- name: Write Flux into the cluster's folder in Git
  ansible.builtin.copy:
    dest: clusters/member-prod/flux-system/gotk-components.yaml
    mode: "0644"
    content: |
      {% for one in objects %}
      ---
      {{ one | to_nice_yaml(indent=2) }}
      {%- endfor %}
  vars:
    release: "{{ lookup('ansible.builtin.file', 'files/flux-2.9.4.yaml') | from_yaml_all }}"
    objects: "{{ release | hackspace.infra.flux_components(registry='registry.example.org/fluxcd') }}"

- name: See with which arguments kustomize-controller would run
  ansible.builtin.debug:
    msg: >-
      {{ lookup('ansible.builtin.file', 'files/flux-2.9.4.yaml') | from_yaml_all | hackspace.infra.flux_components
      | selectattr('kind', 'eq', 'Deployment') | selectattr('metadata.name', 'eq', 'kustomize-controller')
      | map(attribute='spec.template.spec.containers.0.args') | first }}
"""

RETURN = r"""
_value:
  description: Kubernetes objects, in the order of the release.
  type: list
  elements: dict
"""

_LEVELS = ("debug", "info", "error")


def plain(value: t.Any) -> t.Any:
    """Return *value* as ordinary containers and texts."""
    if isinstance(value, t.Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, str) else value


def flux_components(
    objects: t.Any,
    *,
    namespace: str = model.NAMESPACE,
    components: t.Any = model.DEFAULT_COMPONENTS,
    registry: str = "",
    image_pull_secret: str = "",
    cluster_domain: str = "cluster.local",
    node_selector: t.Any = None,
    tolerations: t.Any = (),
    log_level: str = "info",
    network_policies: bool = True,
    default_service_account: str = lockdown.DEFAULT_SERVICE_ACCOUNT,
    workload_identity: bool = False,
    override_managers: t.Any = (MANAGER,),
) -> list[dict[str, t.Any]]:
    """Return the objects; see DOCUMENTATION."""
    try:
        if log_level not in _LEVELS:
            raise InvalidInput(
                f"{log_level!r} is no level.", item="log_level", rule="flux-log-level", fix=f"use {', '.join(_LEVELS)}."
            )
        rendering = model.Rendering(
            namespace=str(namespace),
            components=tuple(plain(components)),
            registry=str(registry),
            image_pull_secret=str(image_pull_secret),
            cluster_domain=str(cluster_domain),
            node_selector=plain(node_selector or {}),
            tolerations=plain(list(tolerations)),
            log_level=str(log_level),
            network_policies=bool(network_policies),
            account=str(default_service_account),
            workload_identity=bool(workload_identity),
            managers=tuple(plain(list(override_managers))),
        )
        return _render(plain(list(objects)), rendering)
    except HackspaceError as error:
        raise AnsibleFilterError(f"flux_components: {error}") from error


def _render(objects: list[t.Any], rendering: model.Rendering) -> list[dict[str, t.Any]]:
    return components.render(components.release(objects), rendering)


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"flux_components": flux_components}
