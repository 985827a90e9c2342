# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.

from __future__ import annotations


class ModuleDocFragment:
    # The other connection options come from the fragment kubernetes.core.k8s_auth_options.
    DOCUMENTATION = r"""
requirements:
  - kubernetes
  - PyYAML
options:
  tls_server_name:
    description:
      - Name to expect in the API server's certificate (and to send as SNI), if it is not the host of O(host) or of the kubeconfig.
      - With an address and this name, no DNS is needed.
    type: str
  request_timeout:
    description: Seconds to wait for a connection and for each answer.
    type: float
    default: 30.0
"""
