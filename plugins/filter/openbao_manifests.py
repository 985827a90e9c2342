# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the objects of OpenBao inside Kubernetes, and the names of its listeners."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._components import openbao
from ..module_utils._core.errors import HackspaceError

DOCUMENTATION = r"""
name: openbao_manifests
author: hackspace.infra contributors (@hackspace)
version_added: 0.1.0
short_description: The objects of OpenBao inside Kubernetes, and the names of its listeners
description:
  - Renders OpenBao with integrated storage and TLS - ServiceAccount, ConfigMap, Services, PodDisruptionBudget and
    StatefulSet - from a few settings.
  - The certificate comes from a Kubernetes Secret of the type C(kubernetes.io/tls) that also has C(ca.crt). It is not
    among the objects.
positional: _input
options:
  _input:
    description:
      - C(image) with its digest is required. The others are C(name) (openbao), C(namespace) (openbao), C(replicas) (3),
        C(storage) (10Gi), C(storage_class), C(tls_secret) (openbao-tls), C(spread) (C(required), one server
        per node, or C(preferred)), C(priority_class), C(resources), C(node_selector), C(tolerations), C(cluster_domain)
        (cluster.local) and C(extra_config) (further lines of the configuration).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write what Git is to have
  ansible.builtin.copy:
    content: "{{ (settings | hackspace.infra.openbao_manifests).yaml }}"
    dest: "{{ playbook_dir }}/openbao.yaml"
    mode: "0644"
  vars:
    settings:
      image: "quay.io/openbao/openbao:2.4.4@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"""

RETURN = r"""
_value:
  description:
    - C(objects), C(yaml) (the same as text), C(names) (DNS names for the certificate), C(namespace) and C(tls_secret).
  type: dict
"""


def openbao_manifests(settings: t.Any) -> dict[str, t.Any]:
    """Return the objects; see DOCUMENTATION."""
    import yaml

    try:
        parsed = openbao.parse(settings)
    except HackspaceError as error:
        raise AnsibleFilterError(f"openbao_manifests: {error}") from error
    found = openbao.objects(parsed)
    return {
        "objects": found,
        "yaml": yaml.safe_dump_all(_plain(found), sort_keys=False, explicit_start=True),
        "names": openbao.names(parsed),
        "namespace": parsed.namespace,
        "tls_secret": parsed.tls_secret,
    }


def _plain(value: t.Any) -> t.Any:
    """Return *value* without YAML's references to what occurs twice, and without Ansible's own types."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, str) else value


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"openbao_manifests": openbao_manifests}
