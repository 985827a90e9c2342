# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.

from __future__ import annotations


class ModuleDocFragment:
    # servers by their addresses
    DOCUMENTATION = r"""
requirements:
  - requests
options:
  nodes:
    description:
      - Every OpenBao server by an address of its own. Never an address behind which servers take turns, as unseal shares would be scattered over them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name for messages.
        type: str
        required: true
      url:
        description:
          - C(https://address:port) without a path. An IP address and O(nodes[].tls_server_name) work while DNS is down.
          - Plain C(http) is accepted on loopback only.
        type: str
        required: true
      tls_server_name:
        description: Name to expect in the server's certificate (and to send as SNI), if it is not the host of O(nodes[].url).
        type: str
"""

    # servers by their addresses, or as pods
    REACH = r"""
requirements:
  - requests
  - kubernetes and PyYAML, for O(pods)
options:
  nodes:
    description:
      - Every OpenBao server by an address of its own. Never an address behind which servers take turns, as unseal shares would be scattered over them.
      - Either this or O(pods).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name for messages.
        type: str
        required: true
      url:
        description:
          - C(https://address:port) without a path. An IP address and O(nodes[].tls_server_name) work while DNS is down.
          - Plain C(http) is accepted on loopback only.
        type: str
        required: true
      tls_server_name:
        description: Name to expect in the server's certificate (and to send as SNI), if it is not the host of O(nodes[].url).
        type: str
  pods:
    description:
      - OpenBao servers that are pods of a Kubernetes cluster. They are found by their labels, and each one is reached by itself, through the API
        server's port-forward and never through a Service.
      - Inside the port-forward is a verified TLS connection to the pod, so that the API server and the kubelet see ciphertext only. Nothing
        listens on the controller, and no program is started.
      - Labels that say whether a server is sealed or active are not looked at.
    type: dict
    suboptions:
      kubeconfig:
        description: Path of the kubeconfig, which may be encrypted with ansible-vault or sops.
        type: path
      kubeconfig_content:
        description: Text of the kubeconfig instead.
        type: str
      context:
        description: Context in the kubeconfig, if it is not the current one.
        type: str
      namespace:
        description: Kubernetes namespace of the pods.
        type: str
        required: true
      label_selector:
        description: Labels of the pods. Those of openbao-helm's servers by default.
        type: str
        default: app.kubernetes.io/name=openbao,component=server
      port:
        description: Port on which OpenBao listens in its pod, with TLS.
        type: int
        default: 8200
      tls_server_name:
        description:
          - Name to expect in each pod's certificate. C({pod}), C({namespace}) and C({service}) are filled in.
          - C({service}) is the headless Service of the StatefulSet, so that the default is C(openbao-0.openbao-internal) with openbao-helm.
        type: str
        default: "{pod}.{service}"
      expected:
        description: Number of servers. By default as many as the StatefulSets want that own the pods.
        type: int
"""

    # how to connect to any of them
    TLS = r"""
options:
  ca_cert:
    description: PEM file on the controller with the CA that signed the servers' certificates. The system's store by default.
    type: path
  validate_certs:
    description: Verify the servers' certificates. Turning it off lets anybody on the path read what is sent.
    type: bool
    default: true
  timeout:
    description: Seconds to wait for a connection and for each answer. A node that hangs costs this once.
    type: float
    default: 10.0
"""
