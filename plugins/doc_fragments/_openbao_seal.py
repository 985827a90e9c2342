# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.

from __future__ import annotations


class ModuleDocFragment:
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
